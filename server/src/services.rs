//! The gRPC services of one listener, told apart by the path of a request.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use tonic::{
    Status,
    body::Body,
    codegen::{
        BoxFuture, Service,
        http::{Extensions, Request, Response},
    },
    server::NamedService,
};

type Answering = BoxFuture<Response<Body>, Infallible>;
type Call = dyn Fn(Request<Body>) -> Answering + Send + Sync;
type Guard = dyn Fn(&Extensions) -> Result<(), Status> + Send + Sync;

/// Services and who may call them.
#[derive(Clone, Default)]
pub(crate) struct Services {
    by_name: Vec<(&'static str, Arc<Call>)>,
    guard: Option<Arc<Guard>>,
}

impl Services {
    /// Adds a service as tonic generates it: ready at any time.
    pub(crate) fn with<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let call = move |request| -> Answering { Box::pin(service.clone().call(request)) };
        self.by_name.push((S::NAME, Arc::new(call)));
        self
    }

    /// Lets in only those requests that `guard` finds nothing against, whatever they ask for.
    pub(crate) fn guarded(
        mut self,
        guard: impl Fn(&Extensions) -> Result<(), Status> + Send + Sync + 'static,
    ) -> Self {
        self.guard = Some(Arc::new(guard));
        self
    }

    fn find(&self, path: &str) -> Result<&Arc<Call>, Status> {
        // A path is /SERVICE/METHOD.
        let name = path.strip_prefix('/').and_then(|path| path.split_once('/')).map(|(name, _)| name);
        let found = self.by_name.iter().find(|(known, _)| Some(*known) == name);
        found.map(|(_, call)| call).ok_or_else(|| Status::unimplemented("there is no such service here"))
    }
}

impl Service<Request<Body>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let admitted = self.guard.as_ref().map_or(Ok(()), |guard| guard(request.extensions()));
        match admitted.and_then(|()| self.find(request.uri().path())) {
            Ok(call) => call(request),
            Err(status) => Box::pin(async move { Ok(status.into_http()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    /// Answers every request with its name.
    #[derive(Clone)]
    struct Named<const ORDERS: bool>;

    impl NamedService for Named<true> {
        const NAME: &'static str = "shop.Orders";
    }

    impl NamedService for Named<false> {
        const NAME: &'static str = "shop.OrdersAndMore";
    }

    impl<const ORDERS: bool> Service<Request<Body>> for Named<ORDERS> {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Answering;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<Body>) -> Answering {
            let text = if ORDERS { "orders" } else { "more" };
            Box::pin(async move { Ok(Status::new(Code::Ok, text).into_http()) })
        }
    }

    async fn call(services: &Services, path: &str, uid: u32) -> (Code, String) {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().expect("it is a path");
        request.extensions_mut().insert(uid);
        let Ok(response) = services.clone().call(request).await;
        let status = Status::from_header_map(response.headers()).expect("it has a status");
        (status.code(), status.message().to_owned())
    }

    fn services() -> Services {
        Services::default().with(Named::<true>).with(Named::<false>)
    }

    #[tokio::test]
    async fn a_request_goes_to_the_service_of_its_path() {
        for (path, text) in [("/shop.Orders/Get", "orders"), ("/shop.OrdersAndMore/Get", "more")] {
            assert_eq!(call(&services(), path, 0).await, (Code::Ok, text.to_owned()));
        }
    }

    #[tokio::test]
    async fn a_path_of_no_service_is_unimplemented() {
        for path in ["/", "/shop", "/shop.Orders", "//shop.Orders/Get", "/shop.order/Get", "/Get/shop.Orders"]
        {
            assert_eq!(call(&services(), path, 0).await.0, Code::Unimplemented, "{path}");
        }
        assert_eq!(call(&Services::default(), "/shop.Orders/Get", 0).await.0, Code::Unimplemented);
    }

    #[tokio::test]
    async fn a_guard_stands_before_every_path() {
        let guarded = services().guarded(|extensions| match extensions.get::<u32>() {
            Some(0) => Ok(()),
            _ => Err(Status::permission_denied("not you")),
        });
        for path in ["/shop.Orders/Get", "/shop.OrdersAndMore/Get", "/nothing/Get"] {
            assert_eq!(call(&guarded, path, 7).await, (Code::PermissionDenied, "not you".to_owned()));
        }
        assert_eq!(call(&guarded, "/shop.Orders/Get", 0).await.0, Code::Ok);
    }
}
