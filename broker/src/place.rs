//! Where Redis is, and how a connection to it is made: address, certificates, limits of time. It keeps nothing open.

use std::{error::Error as _, fs, path::Path, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisError, TlsCertificates, aio::MultiplexedConnection,
};
use rustls::{AlertDescription, CertificateError};

use crate::{Error, Settings, Tls};

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(1);

/// Where Redis is.
pub(crate) struct Place {
    info: ConnectionInfo,
    pub(crate) tls: Tls,
    /// The URL without its password.
    shown: String,
}

impl Place {
    /// Errors: [`Error::Setup`] with one line: the URL is none, or a file of certificates cannot be used.
    pub(crate) fn of(settings: &Settings) -> Result<Self, Error> {
        let shown = settings.shown_url();
        let wrong = |error: RedisError| {
            Error::Setup(format!(
                "the Redis URL {shown:?} is not understood ({error}); it looks like redis://127.0.0.1:6379"
            ))
        };
        let info = settings.url.as_str().into_connection_info().map_err(wrong)?;
        if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
            return Err(Error::Setup(format!(
                "{shown} would trust whoever answers, so #insecure is not served; name the authority of its certificate with redis.ca_file (TEMPEST_REDIS_CA_FILE)"
            )));
        }
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
        // What it would say of itself needs a right of its own, which Redis before 7.2 cannot even name.
        let settings_of_redis = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_tcp_settings(tcp).set_redis_settings(settings_of_redis);
        let place = Self { info, tls: settings.tls.clone(), shown };
        place.client()?;
        Ok(place)
    }

    /// Where it is reached.
    pub(crate) fn address(&self) -> &ConnectionAddr {
        self.info.addr()
    }

    /// The database its URL names.
    pub(crate) fn database(&self) -> i64 {
        self.info.redis_settings().db()
    }

    /// What `redis-cli` must be told for TLS.
    pub(crate) fn tls_options(&self) -> String {
        let Tls { ca_file, cert_file, key_file } = &self.tls;
        let files = [("--cacert", ca_file), ("--cert", cert_file), ("--key", key_file)];
        let named = files.into_iter().filter_map(|(option, file)| Some((option, file.as_ref()?)));
        named.fold(" --tls".to_owned(), |text, (option, file)| format!("{text} {option} {}", file.display()))
    }

    /// A connection of one's own, for what blocks. `answer` is the client-side limit: past it the connection must be
    /// dropped, never used again.
    pub(crate) async fn dedicated(&self, answer: Duration) -> Result<MultiplexedConnection, Error> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(answer))
            .set_pipeline_buffer_size(4_096)
            .set_write_backpressure_boundary(256 << 10);
        let mut connection = self.client()?.get_multiplexed_async_connection_with_config(&config).await?;
        prove(&mut connection).await?;
        Ok(connection)
    }

    /// A connection for subscriptions.
    pub(crate) async fn pubsub(&self) -> Result<redis::aio::PubSub, Error> {
        let client = self.client()?;
        let pubsub = tokio::time::timeout(CONNECT, client.get_async_pubsub()).await;
        pubsub.map_err(|_| Error::Away("connecting took too long".into()))?.map_err(Error::from)
    }

    /// What an operator is told when the first connection does not come up.
    pub(crate) fn no_redis(&self, error: &Error) -> Error {
        let shown = &self.shown;
        Error::Setup(match error {
            Error::Setup(_) => return error.clone(),
            Error::Tls(found) => format!("cannot speak TLS with Redis at {shown}: {found}"),
            Error::Refused { word, detail } => {
                format!("Redis at {shown} refuses: {word} {detail}; check user and password")
            }
            _ => {
                let (text, mixed_up) = (one_line(error), self.mixed_up(error));
                format!(
                    "cannot reach Redis at {shown} ({text}); {mixed_up}start one (redis-server) or name another with --redis-url or TEMPEST_REDIS_URL"
                )
            }
        })
    }

    /// A port that speaks TLS says nothing to who does not, and the other way round.
    fn mixed_up(&self, error: &Error) -> &'static str {
        let text = error.to_string().to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if self.speaks_tls() && says(&["timed out", "end of file", "eof"]) {
            return "if it speaks no TLS there, its URL begins with redis://; ";
        }
        // It says so only after the handshake, and may have closed the connection by then.
        if self.speaks_tls() && self.tls.cert_file.is_none() && says(&["broken pipe", "reset"]) {
            return "if it wants to see a certificate, name one with redis.cert_file and redis.key_file; ";
        }
        if !self.speaks_tls() && says(&["end of file", "reset", "broken pipe", "dropped"]) {
            return "if it speaks TLS there, its URL begins with rediss://; ";
        }
        ""
    }

    pub(crate) fn speaks_tls(&self) -> bool {
        matches!(self.address(), ConnectionAddr::TcpTls { .. })
    }

    /// Reads the certificates anew: they may have changed since the last connection.
    fn client(&self) -> Result<Client, Error> {
        let cannot = |error: RedisError| {
            Error::Setup(format!(
                "the certificates for Redis at {} are not understood ({error}); redis.ca_file, redis.cert_file and redis.key_file name files in PEM",
                self.shown
            ))
        };
        if !self.speaks_tls() {
            return Client::open(self.info.clone()).map_err(cannot);
        }
        // The choice of the whole process, which stands if it was made: another crate may have brought another one in.
        rustls::crypto::ring::default_provider().install_default().ok();
        Client::build_with_tls(self.info.clone(), certificates(&self.tls)?).map_err(cannot)
    }
}

/// The system opens a connection although nobody behind it answers. What Redis answers does not matter.
async fn prove(connection: &mut MultiplexedConnection) -> Result<(), Error> {
    let answer = tokio::time::timeout(CONNECT, redis::cmd("PING").exec_async(connection)).await;
    match answer.map_err(|_| Error::Away("connecting took too long".into()))?.map_err(Error::from) {
        Ok(()) | Err(Error::Refused { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn certificates(tls: &Tls) -> Result<TlsCertificates, Error> {
    let client_tls = match (&tls.cert_file, &tls.key_file) {
        (Some(cert), Some(key)) => Some(ClientTlsConfig {
            client_cert: pem(cert, "redis.cert_file", "CERTIFICATE")?,
            client_key: pem(key, "redis.key_file", "PRIVATE KEY")?,
        }),
        (None, None) => None,
        _ => {
            return Err(Error::Setup(
                "redis.cert_file and redis.key_file go together: one of them is missing".into(),
            ));
        }
    };
    let root_cert = tls.ca_file.as_ref().map(|file| pem(file, "redis.ca_file", "CERTIFICATE")).transpose()?;
    Ok(TlsCertificates { client_tls, root_cert })
}

/// A file that holds at least one `what`; the library takes one without for an empty list.
fn pem(file: &Path, setting: &str, what: &str) -> Result<Vec<u8>, Error> {
    let wrong = |found: &str| Error::Setup(format!("{setting}: {} {found}", file.display()));
    let text = fs::read(file).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    let head = format!("{what}-----");
    if text.windows(head.len()).any(|part| part == head.as_bytes()) {
        return Ok(text);
    }
    Err(wrong(&format!("holds no {} in PEM", what.to_lowercase())))
}

/// What is not Redis is quoted by the parser over several lines.
fn one_line(error: &Error) -> String {
    error.to_string().lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}

/// What is wrong with the certificates, and what to do about it; none if that is not what broke the connection.
pub(crate) fn certificate_trouble(error: &RedisError) -> Option<String> {
    // The library keeps its causes shared, and shows the share as the source.
    let cause = error.source()?.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    let io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let found =
        io.and_then(|inner| inner.downcast_ref::<rustls::Error>()).or_else(|| cause.downcast_ref())?;
    Some(told(found))
}

fn told(error: &rustls::Error) -> String {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidCertificate(error) => untrusted(error),
        Tls::InvalidMessage(_) => "what answers there speaks no TLS; a URL without TLS begins with redis://".into(),
        Tls::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants to see a certificate; name one with redis.cert_file and redis.key_file (TEMPEST_REDIS_CERT_FILE, TEMPEST_REDIS_KEY_FILE)".into()
        }
        Tls::AlertReceived(alert) => {
            format!("it refuses ({alert:?}); see its tls-* options, and its log, for which certificates it takes")
        }
        other => other.to_string(),
    }
}

fn untrusted(error: &CertificateError) -> String {
    use CertificateError as Bad;
    match error {
        Bad::UnknownIssuer | Bad::BadSignature => {
            "its certificate is signed by an authority that is not known here; name that with redis.ca_file (TEMPEST_REDIS_CA_FILE)".into()
        }
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            format!("its certificate is for another name ({error}); use a name it is for in the URL, or give Redis another certificate")
        }
        Bad::Expired | Bad::ExpiredContext { .. } => {
            format!("its certificate has expired ({error}); give Redis a new one (tls-cert-file)")
        }
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet ({error}); look at the clocks of both machines")
        }
        other => format!("its certificate is not good ({other}); give Redis another one (tls-cert-file)"),
    }
}
