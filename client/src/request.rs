//! Who made a request.

use hyper::http::Extensions;

use crate::AltsAuthInfo;

impl AltsAuthInfo {
    /// Who made a request, from `request.extensions()`: what tonic put there of a connection of
    /// [`AltsIncoming`](crate::AltsIncoming), whatever it came over, or what a program of hyper or axum put there itself.
    /// `None` when it did not come over ALTS.
    ///
    /// ```
    /// use alts_client::AltsAuthInfo;
    ///
    /// fn account<T>(request: &tonic::Request<T>) -> Option<&str> {
    ///     AltsAuthInfo::of(request.extensions()).map(AltsAuthInfo::peer_service_account)
    /// }
    /// # assert_eq!(account(&tonic::Request::new(())), None);
    /// ```
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        #[cfg(feature = "tonic")]
        if let Some(connection) = extensions.get::<crate::AltsConnectInfo>() {
            return Some(connection.auth_info());
        }
        extensions.get()
    }
}
