//! TLS of a port.
//!
//! Invariants: the certificate in force is looked at with each handshake, so it changes without a restart; nobody needs a
//! client certificate, and one that is shown proves nothing here but that its key is at hand: whose it is, is decided per
//! request ([`crate::callers`]), so that an authority that is no longer trusted ends at once.

mod files;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature,
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::{
        ClientHello, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub(crate) use files::follow;

/// The certificate in force, with its key; `None` as long as there is none, which fails handshakes.
pub(crate) type InForce = watch::Receiver<Option<Arc<CertifiedKey>>>;

/// How a port speaks TLS. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ServerConfig>);

impl Tls {
    /// # Errors
    /// When the library has no protocol version to offer.
    pub(crate) fn try_new(certificate: InForce) -> Result<Self> {
        let provider = provider();
        let algorithms = provider.signature_verification_algorithms;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("no version of TLS")?;
        let mut config = config
            .with_client_cert_verifier(Arc::new(Shown(algorithms)))
            .with_cert_resolver(Arc::new(Latest(certificate)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.0).into()
    }
}

/// The one implementation of cryptography that there is here.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// How a replica calls another one: whoever shows the certificate that this one has in force is one. They share it, so no
/// authority and no name is asked for; while it changes they may not know each other for as long as files take to come.
///
/// # Errors
/// When the library has no protocol version to offer.
pub(crate) fn towards_replicas(own: Option<InForce>) -> Result<ClientConfig> {
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("no version of TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Same { own, algorithms }))
        .with_no_client_auth();
    Ok(config)
}

/// A certificate chain and its key, in PEM.
///
/// # Errors
/// When they are not that, or do not belong together.
pub(crate) fn certified(chain: &str, key: &str) -> Result<CertifiedKey> {
    let chain = certificates(chain)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).context("no private key in PEM")?;
    CertifiedKey::from_der(chain, key, &provider())
        .context("the certificate and the key do not belong together, or cannot be used")
}

/// Certificates in PEM, at least one.
///
/// # Errors
/// When there is none, or one cannot be read.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let all = all.context("no certificates in PEM")?;
    anyhow::ensure!(!all.is_empty(), "there is no certificate in it");
    Ok(all)
}

#[derive(Debug)]
struct Latest(InForce);

impl ResolvesServerCert for Latest {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.borrow().clone()
    }
}

/// Takes any certificate whose key the client has.
#[derive(Debug)]
struct Shown(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for Shown {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a client then shows what it has.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// Takes the certificate that is this replica's own, whose key is at hand.
#[derive(Debug)]
struct Same {
    own: Option<InForce>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Same {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let own = self.own.as_ref().and_then(|own| own.borrow().clone());
        let own = own.as_ref().and_then(|own| own.cert.first());
        if own == Some(shown) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
