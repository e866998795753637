//! What trusted proxies tell of a client: `Forwarded` (RFC 7239), or the fields `X-Forwarded-*` where it is absent.
//!
//! The fields are read from the right, where the proxy next to this front wrote, and no further than the first address
//! that is not trusted: what stands left of it is the client's own word.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, uri::Authority};
use ipnet::IpNet;

/// Fields in which proxies tell of their client. From anybody else they are removed.
pub(crate) const FIELDS: [HeaderName; 6] = [
    http::header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
];

/// Networks whose word is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl Proxies {
    /// The networks of a list: addresses and networks like `10.0.0.0/8`.
    ///
    /// Errors: the first entry that is neither.
    pub fn new<S: AsRef<str>>(list: &[S]) -> Result<Self, String> {
        let network = |entry: &S| {
            let entry = entry.as_ref().trim();
            let network = entry.parse().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| format!("{entry:?} is no address and no network like 10.0.0.0/8"))
        };
        list.iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nobody is believed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this address is believed.
    pub(crate) fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// What proxies tell of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) address: Option<IpAddr>,
    /// Whether the client spoke HTTPS.
    pub(crate) is_https: Option<bool>,
    pub(crate) host: Option<String>,
}

impl Told {
    /// Reads what the trusted proxy next to this front wrote, and those it got the request from.
    pub(crate) fn by(proxies: &Proxies, headers: &HeaderMap) -> Self {
        if headers.contains_key(&FIELDS[0]) {
            return walk(proxies, forwarded(headers).into_iter());
        }
        walk(proxies, x_forwarded(headers).into_iter())
    }
}

/// From hop to hop, as long as the address a hop tells is itself trusted.
fn walk(proxies: &Proxies, hops: impl Iterator<Item = Told>) -> Told {
    let mut told = Told::default();
    for hop in hops {
        let next = hop.address.filter(|address| proxies.trust(*address));
        told = Told {
            address: hop.address.or(told.address),
            is_https: hop.is_https.or(told.is_https),
            host: hop.host.or(told.host),
        };
        if next.is_none() {
            break;
        }
    }
    told
}

/// The elements of all `Forwarded` fields, the last one first. One that cannot be read ends them.
fn forwarded(headers: &HeaderMap) -> Vec<Told> {
    let elements = elements(headers, &FIELDS[0]);
    elements.iter().map_while(|element| forwarded_element(element)).collect()
}

fn forwarded_element(element: &str) -> Option<Told> {
    let mut told = Told::default();
    for pair in element.split(';') {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "for" => told.address = node(value),
            "proto" => told.is_https = is_https(value),
            "host" => told.host = host(value),
            _ => {}
        }
    }
    Some(told)
}

/// The hops of `X-Forwarded-For`, the last one first. Protocol, host and port count from the right too; where there is
/// but one, it is that of the client.
fn x_forwarded(headers: &HeaderMap) -> Vec<Told> {
    let [_, addresses, protocols, hosts, ports, _] = FIELDS.each_ref().map(|name| elements(headers, name));
    let of_hop = |list: &[String], hop: usize| match list {
        [one] => Some(one.clone()),
        list => list.get(hop).cloned(),
    };
    let told = |hop: usize, address: Option<IpAddr>| {
        let is_https = of_hop(&protocols, hop).and_then(|word| is_https(&word));
        let host = of_hop(&hosts, hop).and_then(|name| host(&name));
        let port = of_hop(&ports, hop).and_then(|port| port.parse::<u16>().ok());
        let usual = if is_https == Some(true) { 443 } else { 80 };
        let host = match (host, port.filter(|port| *port != usual)) {
            (Some(host), Some(port)) if !host.rsplit(']').next().is_some_and(|rest| rest.contains(':')) => {
                Some(format!("{host}:{port}"))
            }
            (host, _) => host,
        };
        Told { address, is_https, host }
    };
    if addresses.is_empty() {
        return vec![told(0, None)];
    }
    addresses.iter().enumerate().map(|(hop, address)| told(hop, node(address))).collect()
}

/// The elements of a list over all fields of a name, the last one first. Commas in quotes do not part them; quotes are
/// counted from the right, so that a client's stray quote cannot swallow what a proxy wrote after it.
fn elements(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let mut all = Vec::new();
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    for line in lines.into_iter().rev() {
        let text = String::from_utf8_lossy(line.as_bytes());
        let mut quoted = false;
        let parts = text.rsplit(|letter| {
            quoted ^= letter == '"';
            letter == ',' && !quoted
        });
        all.extend(parts.map(|part| part.trim().to_owned()));
    }
    all
}

/// The address of a node: with or without port, IPv6 in brackets where it has one. Names and `unknown` are none.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    text.parse().ok().or_else(bracketed).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

fn is_https(word: &str) -> Option<bool> {
    [("https", true), ("http", false), ("wss", true), ("ws", false)]
        .iter()
        .find(|(known, _)| word.eq_ignore_ascii_case(known))
        .map(|(_, is_https)| *is_https)
}

fn host(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    (!authority.as_str().contains('@')).then(|| authority.as_str().to_owned())
}

#[cfg(test)]
mod tests;
