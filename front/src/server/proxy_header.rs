//! The PROXY protocol, versions 1 and 2 (haproxy.org, `doc/proxy-protocol.txt`): the first bytes of a connection, in
//! which a proxy that does not speak HTTP tells where its client is. Not a byte of what follows is read.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use ppp::{HeaderResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The first bytes of version 2, and as many as the shortest line of version 1 surely has.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version, family and length.
const V2_HEAD: usize = 16;
/// The longest line of version 1.
const V1_BYTES_MAX: usize = 107;
/// Addresses and extensions of version 2; the longest address takes 216.
const V2_BYTES_MAX: usize = 4096;

/// Reads the header. None: the proxy speaks for itself, or does not tell where its client is.
///
/// Errors: the connection broke off, or does not begin with a header.
pub(super) async fn read(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut bytes = vec![0; SIGNATURE.len()];
    socket.read_exact(&mut bytes).await?;
    if bytes == SIGNATURE {
        bytes.resize(V2_HEAD, 0);
        socket.read_exact(&mut bytes[SIGNATURE.len()..]).await?;
        let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        if length > V2_BYTES_MAX {
            return Err(bad("its header is too long"));
        }
        bytes.resize(V2_HEAD + length, 0);
        socket.read_exact(&mut bytes[V2_HEAD..]).await?;
    } else {
        while !bytes.ends_with(b"\r\n") {
            if !bytes.starts_with(b"PROXY ") || bytes.len() == V1_BYTES_MAX {
                return Err(bad("it does not begin with a header"));
            }
            bytes.push(socket.read_u8().await?);
        }
    }
    match HeaderResult::parse(&bytes) {
        HeaderResult::V1(Ok(header)) => Ok(source_v1(header.addresses)),
        HeaderResult::V2(Ok(header)) => match header.command {
            v2::Command::Local => Ok(None),
            v2::Command::Proxy => Ok(source_v2(header.addresses)),
        },
        HeaderResult::V1(Err(error)) => Err(bad(error)),
        HeaderResult::V2(Err(error)) => Err(bad(error)),
    }
}

fn bad(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn source_v1(addresses: v1::Addresses) -> Option<SocketAddr> {
    match addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(ip) => Some(SocketAddr::new(IpAddr::V4(ip.source_address), ip.source_port)),
        v1::Addresses::Tcp6(ip) => Some(SocketAddr::new(IpAddr::V6(ip.source_address), ip.source_port)),
    }
}

fn source_v2(addresses: v2::Addresses) -> Option<SocketAddr> {
    match addresses {
        v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        v2::Addresses::IPv4(ip) => Some(SocketAddr::new(IpAddr::V4(ip.source_address), ip.source_port)),
        v2::Addresses::IPv6(ip) => Some(SocketAddr::new(IpAddr::V6(ip.source_address), ip.source_port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let mut rest = bytes;
        let read = read(&mut rest).await;
        (read, rest.to_vec())
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, body, b"GET /"].concat()
    }

    #[tokio::test]
    async fn version_1_is_read_to_the_end_of_its_line() {
        let (read, rest) = of(b"PROXY TCP4 192.0.2.60 10.0.0.1 4711 80\r\nGET / HTTP/1.1\r\n").await;
        assert_eq!(read.unwrap(), Some("192.0.2.60:4711".parse().unwrap()));
        assert_eq!(rest, b"GET / HTTP/1.1\r\n");
        let (read, rest) = of(b"PROXY TCP6 2001:db8::1 ::1 4711 80\r\nx").await;
        assert_eq!(
            (read.unwrap(), rest.as_slice()),
            (Some("[2001:db8::1]:4711".parse().unwrap()), &b"x"[..])
        );
        let (read, rest) = of(b"PROXY UNKNOWN\r\nx").await;
        assert_eq!((read.unwrap(), rest.as_slice()), (None, &b"x"[..]));
    }

    #[tokio::test]
    async fn version_2_is_read_with_its_extensions() {
        let addresses = [192, 0, 2, 60, 10, 0, 0, 1, 0x12, 0x67, 0, 80];
        let with_extension = [&addresses[..], &[0x04, 0, 1, 0]].concat();
        for body in [&addresses[..], &with_extension] {
            let (read, rest) = of(&v2(1, 0x11, body)).await;
            assert_eq!(
                (read.unwrap(), rest.as_slice()),
                (Some("192.0.2.60:4711".parse().unwrap()), &b"GET /"[..])
            );
        }
        let (read, rest) = of(&v2(0, 0, b"")).await;
        assert_eq!(
            (read.unwrap(), rest.as_slice()),
            (None, &b"GET /"[..]),
            "LOCAL: a health check of the proxy"
        );
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let long = [b"PROXY ".as_slice(), &[b'x'; 200]].concat();
        let cases: [&[u8]; 6] = [
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            b"PROXY TCP4 999.0.2.60 10.0.0.1 4711 80\r\n",
            b"PROXY TCP4 192.0.2.60",
            &long,
            &v2(1, 0x11, b"short"),
            &[&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat(),
        ];
        for case in cases {
            assert!(of(case).await.0.is_err(), "{:?}", String::from_utf8_lossy(case));
        }
    }
}
