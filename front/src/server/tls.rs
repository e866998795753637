//! TLS: the handshake, and certificates that may change while the front runs. What is spoken inside is not decided here
//! but by the client (ALPN, RFC 7301).

mod certificates;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{info, warn};

use crate::config::Certificate;
pub use certificates::Validity;
use certificates::{Certificates, Stamp};

/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often the files of certificates are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// TLS of a front. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
}

/// The certificates in force.
#[derive(Debug)]
struct Current {
    certificates: ArcSwap<Certificates>,
    files: Mutex<(Vec<Certificate>, Stamp)>,
}

impl Tls {
    /// TLS with the certificates of these files. There must be one at least.
    ///
    /// Errors: one line for each certificate that cannot be used.
    pub(crate) fn new(files: &[Certificate]) -> Result<Self, Vec<String>> {
        let stamp = Stamp::of(files);
        let current = Arc::new(Current {
            certificates: ArcSwap::from_pointee(Certificates::read(files)?),
            files: Mutex::new((files.to_vec(), stamp)),
        });
        let versions = ServerConfig::builder_with_provider(ring::default_provider().into());
        let versions =
            versions.with_safe_default_protocol_versions().map_err(|error| vec![error.to_string()])?;
        let mut config = versions.with_no_client_auth().with_cert_resolver(current.clone());
        config.alpn_protocols = [&b"h2"[..], b"http/1.1", b"http/1.0"].map(<[u8]>::to_vec).to_vec();
        config.ticketer = ring::Ticketer::new().map_err(|error| vec![error.to_string()])?;
        Ok(Self { acceptor: Arc::new(config).into(), current })
    }

    /// Puts the certificates of these files in force for new connections.
    ///
    /// Errors: one line for each that cannot be used; then those of before stay.
    pub(crate) fn reload(&self, files: &[Certificate]) -> Result<(), Vec<String>> {
        let stamp = Stamp::of(files);
        let certificates = Certificates::read(files)?;
        *self.current.files() = (files.to_vec(), stamp);
        self.current.certificates.store(Arc::new(certificates));
        Ok(())
    }

    /// Reads the files again whenever they have changed. A change that cannot be used is told once.
    pub(crate) async fn watch(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let (files, before) = self.current.files().clone();
            let now = Stamp::of(&files);
            if now == before {
                continue;
            }
            match self.reload(&files) {
                Ok(()) => info!("certificates have changed; new connections get the new ones"),
                Err(wrong) => {
                    self.current.files().1 = now;
                    warn!(
                        wrong = wrong.join("; "),
                        "certificates have changed and cannot be used; the old ones stay"
                    );
                }
            }
        }
    }

    /// Shakes hands.
    ///
    /// Errors: the client speaks something else, gave up, or was too slow.
    pub(super) async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        tokio::time::timeout(HANDSHAKE, self.acceptor.accept(socket)).await?
    }
}

impl Current {
    fn files(&self) -> std::sync::MutexGuard<'_, (Vec<Certificate>, Stamp)> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certificates.load().of(hello.server_name()))
    }
}
