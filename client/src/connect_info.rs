//! What tonic tells a service about the connection of a request.

use std::{any::Any, fmt, sync::Arc};

use tonic::transport::server::Connected;

use crate::{AltsAuthInfo, AltsStream};

impl<IO: Connected> Connected for AltsStream<IO> {
    type ConnectInfo = AltsConnectInfo;

    fn connect_info(&self) -> AltsConnectInfo {
        AltsConnectInfo {
            auth_info: self.auth_info().clone(),
            inner: Arc::new(self.get_ref().connect_info()),
        }
    }
}

/// What tonic puts into the extensions of requests that came over ALTS. One type for all transports, so that a service
/// need not know what it is served over.
#[derive(Clone)]
pub struct AltsConnectInfo {
    auth_info: AltsAuthInfo,
    inner: Arc<dyn Any + Send + Sync>,
}

impl AltsConnectInfo {
    /// Who is at the other end.
    pub fn auth_info(&self) -> &AltsAuthInfo {
        &self.auth_info
    }

    /// What the transport below says, when `T` is what it says: `TcpConnectInfo` of tonic for TCP, `UdsConnectInfo`
    /// for unix sockets.
    ///
    /// ```
    /// # use alts_client::AltsConnectInfo;
    /// use tonic::transport::server::TcpConnectInfo;
    ///
    /// fn address<T>(request: &tonic::Request<T>) -> Option<std::net::SocketAddr> {
    ///     let connection: &AltsConnectInfo = request.extensions().get()?;
    ///     connection.inner::<TcpConnectInfo>()?.remote_addr()
    /// }
    /// # assert_eq!(address(&tonic::Request::new(())), None);
    /// ```
    pub fn inner<T: 'static>(&self) -> Option<&T> {
        self.inner.downcast_ref()
    }
}

impl fmt::Debug for AltsConnectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AltsConnectInfo").field("auth_info", &self.auth_info).finish_non_exhaustive()
    }
}
