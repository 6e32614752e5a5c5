//! A page that is told by POST, in JSON.

use std::sync::Arc;

use portunus_config::alerts;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::PATIENCE;
use super::text::Batch;

/// The page, and how it is spoken to.
pub(super) struct Hook {
    agent: ureq::Agent,
    page: alerts::Webhook,
}

impl Hook {
    pub(super) fn new(page: &alerts::Webhook) -> Result<Self, String> {
        let all = authorities(page.authority.as_deref());
        let roots = all.iter().map(|der| Certificate::from_der(der).to_owned()).collect::<Vec<_>>();
        if roots.is_empty() && page.authority.is_some() {
            return Err(NO_AUTHORITY.to_owned());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .proxy(None)
            .user_agent("portunus")
            .tls_config(tls)
            .build();
        Ok(Self { agent: ureq::Agent::new_with_config(config), page: page.clone() })
    }

    /// Any answer below 300 is a yes.
    pub(super) fn send(&self, batch: &Batch<'_>) -> Result<(), String> {
        let mut request = self.agent.post(self.page.url.expose()).header("Content-Type", "application/json");
        if let Some(token) = &self.page.token {
            request = request.header("Authorization", format!("Bearer {}", token.expose()));
        }
        let body = batch.json().to_string();
        match request.send(body) {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("the page answers {}", answer.status())),
            Err(error) => Err(error.to_string().replace(self.page.url.expose(), &self.page.shown)),
        }
    }
}

/// What is wrong with a `ca_file` that holds no certificate after all.
pub(super) const NO_AUTHORITY: &str = "there is no certificate in ca_file that can be read";

/// The authority that is named, else those that this machine believes. With none of them nobody is believed; one that
/// cannot be read is left out, since a machine has many.
pub(super) fn authorities(named: Option<&str>) -> Vec<Vec<u8>> {
    let found: Vec<CertificateDer<'static>> = match named {
        Some(pem) => CertificateDer::pem_slice_iter(pem.as_bytes()).flatten().collect(),
        None => rustls_native_certs::load_native_certs().certs,
    };
    let readable = |der: &CertificateDer<'static>| RootCertStore::empty().add(der.clone()).is_ok();
    found.into_iter().filter(readable).map(|der| der.to_vec()).collect()
}
