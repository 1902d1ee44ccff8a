//! Loopback ports that stay ours.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::net::TcpSocket;

/// A port bound but never listened on. While it lives nobody else is given the port, a process of ours can bind it
/// (both sides allow address and port reuse), and until one does, connections to it are refused.
#[derive(Debug)]
pub struct ReservedPort {
    _socket: TcpSocket,
    address: SocketAddr,
}

impl ReservedPort {
    /// A free port of 127.0.0.1.
    ///
    /// # Errors
    /// When the system has none.
    pub fn new() -> Result<Self> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// A free port of ::1.
    ///
    /// # Errors
    /// When the system has none, or no IPv6.
    pub fn new_v6() -> Result<Self> {
        Self::bind((Ipv6Addr::LOCALHOST, 0).into())
    }

    fn bind(address: SocketAddr) -> Result<Self> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }
        .context("open a socket")?;
        socket.set_reuseaddr(true).context("allow address reuse")?;
        socket.set_reuseport(true).context("allow port reuse")?;
        socket
            .bind(address)
            .with_context(|| format!("bind a free port of {address}"))?;
        let address = socket.local_addr().context("read the bound port")?;
        Ok(Self {
            _socket: socket,
            address,
        })
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test]
    async fn refuses_until_somebody_listens() {
        let port = ReservedPort::new().unwrap();
        let error = TcpStream::connect(port.address()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let listener = TcpListener::bind(port.address()).await.unwrap();
        TcpStream::connect(port.address()).await.unwrap();
        listener.accept().await.unwrap();
    }
}
