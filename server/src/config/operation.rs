//! Where operators and Prometheus ask, and where the daemon asks about pods.

use std::net::SocketAddr;

use toml::Spanned;

use super::{
    address::Address,
    error::{Error, Problem},
    listeners::Listener,
    raw,
    text::Text,
};
use crate::attest::{KubernetesSettings, PodSource};

/// Where operators ask, and who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admin {
    /// A unix socket.
    pub(crate) address: Address,
    /// Users who may ask, beside root and the one that the daemon runs as.
    pub(crate) uids: Vec<u32>,
}

impl Text<'_> {
    pub(super) fn admin(
        &self,
        table: Option<&Spanned<raw::Admin>>,
        listeners: &[Listener],
    ) -> Result<Option<Admin>, Error> {
        let Some(table) = table else { return Ok(None) };
        let text = self.required(&table.as_ref().address, table.span().start, "admin.address".to_owned())?;
        let address = text.map(|text| match Address::parse(text).map_err(Problem::Address)? {
            taken if listeners.iter().any(|listener| listener.address.same_place(&taken)) => {
                Err(Problem::AdminIsListener(taken.to_string()))
            }
            address @ Address::Unix { .. } => Ok(address),
            Address::Tcp(_) => Err(Problem::AdminNotUnix),
        })?;
        let uids = table.as_ref().uids.iter().map(|uid| *uid.as_ref()).collect();
        Ok(Some(Admin { address: address.value, uids }))
    }

    pub(super) fn metrics(&self, table: Option<&Spanned<raw::Metrics>>) -> Result<Option<SocketAddr>, Error> {
        let Some(table) = table else { return Ok(None) };
        let text =
            self.required(&table.as_ref().address, table.span().start, "metrics.address".to_owned())?;
        let invalid = |text: &String| Problem::MetricsAddress(text.clone());
        let address = text.map(|text| text.parse().map_err(|_| invalid(text)))?;
        Ok(Some(address.value))
    }

    pub(super) fn kubernetes(
        &self,
        table: Option<&Spanned<raw::Kubernetes>>,
    ) -> Result<Option<KubernetesSettings>, Error> {
        let Some(table) = table else { return Ok(None) };
        let place = self.at(table, "kubernetes");
        let table = table.as_ref();
        let file = |path: &Option<Spanned<_>>, key: &str| {
            path.as_ref().map(|path| self.relative(self.placed(path, format!("kubernetes.{key}"))).value)
        };
        let ca_file = file(&table.kubelet_ca, "kubelet_ca");
        let token_file = file(&table.kubelet_token, "kubelet_token");
        let pods = match (&table.pods_file, &table.kubelet) {
            (Some(_), None) if ca_file.is_none() && token_file.is_none() => {
                file(&table.pods_file, "pods_file").map(PodSource::File)
            }
            (None, Some(url)) => {
                let url = self.placed(url, "kubernetes.kubelet").map(|url| {
                    let known = url.starts_with("https://") || url.starts_with("http://127.0.0.1:");
                    if known { Ok(url.clone()) } else { Err(Problem::KubeletUrl(url.clone())) }
                })?;
                Some(PodSource::Kubelet { url: url.value, ca_file, token_file })
            }
            _ => None,
        };
        let pods = pods.ok_or_else(|| place.refuse(Problem::PodSource))?;
        Ok(Some(KubernetesSettings { pods }))
    }
}
