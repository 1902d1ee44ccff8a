//! A client that speaks TLS, with or without a certificate of its own; a connection for each request.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    client::{Answer, Request, RequestBody, answer},
    wait::PATIENCE,
};

/// A client of one server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SecureClient {
    address: SocketAddr,
    name: String,
    config: Arc<ClientConfig>,
}

/// A connection that stays. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SecureSession {
    origin: String,
    sender: SendRequest<RequestBody>,
}

impl SecureSession {
    /// Sends and reads the answer to its end.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub async fn send(&mut self, request: Request) -> Result<Answer> {
        let sent = self.sender.send_request(request.into_http(&self.origin)?);
        answer(timeout(PATIENCE, sent).await??).await
    }
}

impl SecureClient {
    /// Trusts what `roots` (PEM) signed for `name`; shows a certificate with its key (PEM) if it has one.
    ///
    /// # Errors
    /// When these cannot be read.
    pub fn try_new(
        address: SocketAddr,
        name: &str,
        roots: &str,
        own: Option<(&str, &str)>,
    ) -> Result<Self> {
        let mut trusted = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
            trusted.add(root?)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(trusted);
        let mut config = match own {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let chain: Result<_, _> =
                    CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
                config.with_client_auth_cert(chain?, key)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            address,
            name: name.to_owned(),
            config: Arc::new(config),
        })
    }

    /// The same, with these protocols offered.
    #[must_use]
    pub fn offering(mut self, protocols: &[&str]) -> Self {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec());
        Arc::make_mut(&mut self.config).alpn_protocols = protocols.collect();
        self
    }

    /// A connection after its handshake.
    ///
    /// # Errors
    /// When there is none.
    pub async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(self.name.clone())?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        timeout(PATIENCE, connector.connect(name, stream))
            .await?
            .context("handshake")
    }

    /// A connection, by HTTP/2, for many requests.
    ///
    /// # Errors
    /// When there is none.
    pub async fn session(&self) -> Result<SecureSession> {
        let io = TokioIo::new(self.clone().offering(&["h2"]).connect().await?);
        let shook = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (sender, connection) = shook.await?;
        tokio::spawn(connection);
        Ok(SecureSession {
            origin: format!("https://{}", self.name),
            sender,
        })
    }

    /// Sends and reads the answer to its end.
    ///
    /// # Errors
    /// When there is no complete answer.
    pub async fn send(&self, request: Request) -> Result<Answer> {
        let exchange = async {
            let stream = self.connect().await?;
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let io = TokioIo::new(stream);
            if h2 {
                let request = request.into_http(&format!("https://{}", self.name))?;
                let shook = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
                let (mut sender, connection) = shook.await?;
                tokio::spawn(connection);
                answer(sender.send_request(request).await?).await
            } else {
                let request = request.header("host", &self.name).into_http("")?;
                let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
                tokio::spawn(connection);
                answer(sender.send_request(request).await?).await
            }
        };
        timeout(PATIENCE, exchange)
            .await
            .context("no answer in time")?
    }
}
