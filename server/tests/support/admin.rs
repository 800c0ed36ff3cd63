//! The certificates of a node, asked as operators' programs ask.

use alts_proto::altsd::{
    Certificate, GetCertificateRequest, ListCertificatesRequest, RotateCertificateRequest,
    certificate::State, certificates_client::CertificatesClient,
};
use tonic::{Status, transport::Channel};

use super::{daemon::eventually, node::Node, stream::connect};

pub(crate) struct Certificates(CertificatesClient<Channel>);

impl Certificates {
    pub(crate) async fn of(node: &Node) -> Self {
        Self(CertificatesClient::new(connect(&node.at("admin.sock"), "a-test").await))
    }

    pub(crate) async fn list(&mut self) -> Vec<Certificate> {
        let answer = self.0.list_certificates(ListCertificatesRequest::default()).await;
        answer.expect("it answers").into_inner().certificates
    }

    pub(crate) async fn get(&mut self, account: &str) -> Certificate {
        let request = GetCertificateRequest { name: format!("certificates/{account}") };
        self.0.get_certificate(request).await.expect("it is an identity").into_inner()
    }

    pub(crate) async fn rotate(&mut self, account: &str) -> Result<Certificate, Status> {
        let request = RotateCertificateRequest { name: format!("certificates/{account}") };
        Ok(self.0.rotate_certificate(request).await?.into_inner())
    }

    /// Waits until a certificate is in this state.
    pub(crate) async fn becomes(&mut self, account: &str, state: State) -> Certificate {
        eventually(&format!("{account} to be {state:?}"), async || {
            Some(self.get(account).await).filter(|found| found.state() == state)
        })
        .await
    }

    /// Waits until the certificate with this serial number is in use, and all is well with it.
    pub(crate) async fn renewed(&mut self, account: &str, serial: u64) {
        eventually(&format!("{account} to have the certificate {serial:x}"), async || {
            let found = self.get(account).await;
            (found.state() == State::Valid && number(&found) == serial).then_some(())
        })
        .await;
    }
}

/// The serial number of a certificate that a test has numbered.
pub(crate) fn number(certificate: &Certificate) -> u64 {
    u64::from_str_radix(&certificate.serial_number, 16).expect("it is a small number in hexadecimal")
}
