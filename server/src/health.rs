//! The health of the handshaker as gRPC asks for it, `grpc.health.v1`.

use alts_proto::gcp::handshaker_service_server::SERVICE_NAME;
use tokio::sync::watch;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

/// The daemon as a whole, and the service that its readiness is about.
const NAMES: [&str; 2] = ["", SERVICE_NAME];

/// Largest request, in bytes: the name of a service.
const MAX_MESSAGE: usize = 1 << 10;

/// The service, which says what `ready` says, and the task that tells it of each change. The task ends when `ready`
/// does, or with its last word unheard when it is dropped.
pub(crate) async fn health(
    mut ready: watch::Receiver<bool>,
) -> (HealthServer<HealthService>, impl Future<Output = ()> + Send + 'static) {
    let reporter = HealthReporter::new();
    // Before the first request: a reporter begins with the claim that all is well.
    report(&reporter, *ready.borrow_and_update()).await;
    let service = HealthService::from_health_reporter(reporter.clone());
    let follow = async move {
        while ready.changed().await.is_ok() {
            let ready = *ready.borrow_and_update();
            report(&reporter, ready).await;
        }
        // Nobody knows any more.
        report(&reporter, false).await;
    };
    (HealthServer::new(service).max_decoding_message_size(MAX_MESSAGE), follow)
}

async fn report(reporter: &HealthReporter, ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in NAMES {
        reporter.set_service_status(name, status).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;
    use tonic::{Code, Request};
    use tonic_health::pb::{HealthCheckRequest, health_check_response, health_client::HealthClient};

    use super::*;

    const SERVING: i32 = health_check_response::ServingStatus::Serving as i32;
    const NOT_SERVING: i32 = health_check_response::ServingStatus::NotServing as i32;

    fn of(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    #[tokio::test]
    async fn health_is_readiness_from_the_first_request_on() {
        for (ready, status) in [(true, SERVING), (false, NOT_SERVING)] {
            let (_sender, receiver) = watch::channel(ready);
            let (server, _follow) = health(receiver).await;
            let mut client = HealthClient::new(server);
            for name in ["", "grpc.gcp.HandshakerService"] {
                let answer = client.check(of(name)).await.expect("it is known").into_inner();
                assert_eq!(answer.status, status, "{name:?} {ready}");
            }
        }
    }

    #[tokio::test]
    async fn who_watches_is_told_of_each_change_and_of_the_end() {
        let (sender, receiver) = watch::channel(false);
        let (server, follow) = health(receiver).await;
        tokio::spawn(follow);
        let mut client = HealthClient::new(server);
        let mut told = client.watch(of("")).await.expect("it can be watched").into_inner();
        let mut next = async || told.next().await.expect("it goes on").expect("it is no error").status;
        assert_eq!(next().await, NOT_SERVING);
        sender.send_replace(true);
        assert_eq!(next().await, SERVING);
        sender.send_replace(false);
        assert_eq!(next().await, NOT_SERVING);
        sender.send_replace(true);
        assert_eq!(next().await, SERVING);
        drop(sender);
        assert_eq!(next().await, NOT_SERVING);
    }

    #[tokio::test]
    async fn a_service_that_is_not_here_has_no_health() {
        let (_sender, receiver) = watch::channel(true);
        let (server, _follow) = health(receiver).await;
        for name in ["grpc.gcp.Handshaker", "altsd.v1.Certificates", " "] {
            let status = HealthClient::new(server.clone()).check(of(name)).await.expect_err(name);
            assert_eq!(status.code(), Code::NotFound);
        }
    }
}
