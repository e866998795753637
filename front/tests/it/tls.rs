//! TLS: which certificate a client gets, what is spoken inside, and certificates that change.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
};

use tempest_front::{Certificate, Error, FrontConfig, TlsConfig};

use crate::{
    scene::{Running, Scene, config},
    server::eventually,
};

/// A certificate of its own authority for these names.
pub(crate) fn certificate(folder: &Path, file: &str, names: &[&str]) -> Certificate {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let files = Certificate {
        certificate: folder.join(format!("{file}.pem")),
        key: folder.join(format!("{file}.key")),
    };
    std::fs::write(&files.certificate, made.cert.pem()).expect("written");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    files
}

/// A front that speaks TLS with these certificates.
pub(crate) fn speaks(certificates: Vec<Certificate>) -> FrontConfig {
    let tls = TlsConfig { listen: vec!["127.0.0.1:0".into()], certificates, ..TlsConfig::default() };
    FrontConfig { tls, ..config() }
}

fn tls(front: &Running) -> SocketAddr {
    front.tls.expect("it speaks TLS")
}

/// Fetches `https://HOST/` and trusts nobody but this certificate.
fn curl(front: &Running, host: &str, trusted: &Certificate, options: &[&str]) -> Output {
    let port = tls(front).port();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "20", "--cacert"]);
    command.arg(&trusted.certificate).args(["--resolve", &format!("{host}:{port}:127.0.0.1")]);
    command.args(options).arg(format!("https://{host}:{port}/"));
    command.output().expect("curl is there")
}

/// Whether the certificate that comes for this host is this one.
fn trusts(front: &Running, host: &str, certificate: &Certificate) -> bool {
    curl(front, host, certificate, &["--http2"]).status.success()
}

#[test]
fn the_client_chooses_http_2_or_http_1() {
    let (folder, scene) = (tempfile::tempdir().expect("a folder"), Scene::new());
    let files = certificate(folder.path(), "a", &["a.test"]);
    let front = scene.front_with(speaks(vec![files.clone()]));
    for (option, version) in
        [("--http2", "HTTP/2 200"), ("--http1.1", "HTTP/1.1 200"), ("--http1.0", "HTTP/1.0 200")]
    {
        let (front, files) = (&front, &files);
        let (claim, output) = std::thread::scope(|scope| {
            let output = scope.spawn(move || curl(front, "a.test", files, &["--include", option]));
            let claim = scene.claim();
            scene.answer(&claim, 200, &[], b"done");
            (claim, output.join().expect("run"))
        });
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.starts_with(version) && text.ends_with("done"), "{option}: {text} {output:?}");
        let request = claim.request();
        assert_eq!((request.scheme.as_str(), request.url.as_str()), ("https", "/"), "{option}");
        assert_eq!(claim.header("host"), [format!("a.test:{}", tls(front).port())], "{option}");
    }
}

#[test]
fn each_name_gets_its_own_certificate() {
    let (folder, scene) = (tempfile::tempdir().expect("a folder"), Scene::new());
    let first = certificate(folder.path(), "a", &["a.test", "one.b.test"]);
    let second = certificate(folder.path(), "b", &["*.b.test", "B.test"]);
    let front = scene.front_with(speaks(vec![first.clone(), second.clone()]));
    scene.answering(|| {
        assert!(trusts(&front, "a.test", &first) && !trusts(&front, "a.test", &second));
        assert!(trusts(&front, "x.b.test", &second) && !trusts(&front, "x.b.test", &first));
        assert!(trusts(&front, "b.test", &second), "names know no case");
        assert!(trusts(&front, "one.b.test", &first), "a name of its own comes before all of a domain");
        // Others get the first, which curl does not take for them.
        for name in ["two.x.b.test", "c.test"] {
            let output = curl(&front, name, &first, &["--insecure", "--verbose"]);
            assert!(output.status.success(), "{output:?}");
            assert!(!trusts(&front, name, &first) && !trusts(&front, name, &second));
        }
        let without_name = curl(&front, "127.0.0.1", &first, &["--insecure"]);
        assert!(without_name.status.success(), "{without_name:?}");
    });
}

#[test]
fn certificates_that_change_are_read_again_and_broken_ones_are_not_used() {
    let (folder, scene) = (tempfile::tempdir().expect("a folder"), Scene::new());
    let files = certificate(folder.path(), "a", &["a.test"]);
    let front = scene.front_with(speaks(vec![files.clone()]));
    let copy = |name: &str| {
        let copy = folder.path().join(name);
        std::fs::copy(&files.certificate, &copy).expect("copied");
        Certificate { certificate: copy, ..files.clone() }
    };
    scene.answering(|| {
        let old = copy("old");
        assert!(trusts(&front, "a.test", &old));
        certificate(folder.path(), "a", &["a.test"]);
        let new = copy("new");
        eventually("the new one is used", || trusts(&front, "a.test", &new));
        assert!(!trusts(&front, "a.test", &old));

        std::fs::write(&files.certificate, "no certificate at all").expect("written");
        // It is looked at every two seconds.
        std::thread::sleep(std::time::Duration::from_secs(3));
        assert!(trusts(&front, "a.test", &new), "the one before stays");
        certificate(folder.path(), "a", &["a.test"]);
        let third = copy("third");
        eventually("a good one is used again", || trusts(&front, "a.test", &third));
    });
}

#[test]
fn a_reload_changes_all_certificates_or_none() {
    let (folder, scene) = (tempfile::tempdir().expect("a folder"), Scene::new());
    let first = certificate(folder.path(), "a", &["a.test"]);
    let second = certificate(folder.path(), "b", &["b.test"]);
    let front = scene.front_with(speaks(vec![first.clone()]));
    let missing = Certificate { key: folder.path().join("none.key"), ..second.clone() };
    scene.answering(|| {
        let refused = front.handle().reload(speaks(vec![second.clone(), missing])).expect_err("refused");
        assert!(matches!(&refused, Error::Certificates(lines) if lines.len() == 1), "{refused:?}");
        assert!(refused.to_string().contains("none.key"), "{refused}");
        assert!(trusts(&front, "a.test", &first) && !trusts(&front, "b.test", &second));
        front.handle().reload(speaks(vec![second.clone()])).expect("taken");
        assert!(trusts(&front, "b.test", &second) && !trusts(&front, "a.test", &first));
    });
}

#[test]
fn certificates_that_cannot_be_used_are_told_one_line_each() {
    let (folder, scene) = (tempfile::tempdir().expect("a folder"), Scene::new());
    let (first, second) =
        (certificate(folder.path(), "a", &["a.test"]), certificate(folder.path(), "b", &["b.test"]));
    let mixed = Certificate { key: first.key.clone(), ..second.clone() };
    let empty = Certificate { certificate: folder.path().join("empty.pem"), ..first.clone() };
    std::fs::write(&empty.certificate, "").expect("written");
    let refuse = |certificates| match scene.try_front(&scene.redis.url(), speaks(certificates)) {
        Err(Error::Certificates(lines)) => lines,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it started"),
    };
    let lines = refuse(vec![first.clone(), mixed, empty]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("a.key") && lines[0].contains("does not go with"), "{lines:?}");
    assert!(lines[1].contains("empty.pem") && lines[1].contains("no certificate"), "{lines:?}");
    assert!(refuse(Vec::new())[0].contains("needs a certificate"));
}

#[test]
fn plaintext_is_sent_to_tls_if_that_is_wanted() {
    let (folder, scene) = (tempfile::tempdir().expect("a folder"), Scene::new());
    let files = certificate(folder.path(), "a", &["a.test"]);
    let redirecting = |port| {
        let config = speaks(vec![files.clone()]);
        FrontConfig { tls: TlsConfig { redirect: true, port, ..config.tls.clone() }, ..config }
    };
    let front = scene.front_with(redirecting(0));
    let redirected = |host: &str| {
        let mut client = front.client();
        client.send(format!("POST /a?b=%20c HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1\r\n\r\nx"));
        let response = client.response();
        assert_eq!(response.status, 308);
        response.header("location").expect("a location")
    };
    assert_eq!(redirected("a.test:80"), format!("https://a.test:{}/a?b=%20c", tls(&front).port()));
    assert_eq!(redirected("[::1]"), format!("https://[::1]:{}/a?b=%20c", tls(&front).port()));
    front.handle().reload(redirecting(443)).expect("taken");
    assert_eq!(redirected("a.test:80"), "https://a.test/a?b=%20c");
    // What came in TLS is not sent there.
    scene.answering(|| assert!(trusts(&front, "a.test", &files)));
}

#[test]
fn what_is_no_tls_is_left_and_others_are_served() {
    let (folder, scene) = (tempfile::tempdir().expect("a folder"), Scene::new());
    let files = certificate(folder.path(), "a", &["a.test"]);
    let front = scene.front_with(speaks(vec![files.clone()]));
    let mut client = crate::client::Client::connect(tls(&front));
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    // An alert of TLS at most, no HTTP.
    let answer = client.rest();
    assert!(!answer.windows(4).any(|some| some == b"HTTP"), "{answer:?}");
    scene.answering(|| assert!(trusts(&front, "a.test", &files)));
    let old = Command::new("openssl")
        .args(["s_client", "-tls1_1", "-connect", &tls(&front).to_string()])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl is there");
    assert!(!old.status.success(), "TLS 1.1 is refused");
}

#[test]
fn event_streams_flow_in_tls() {
    use std::io::{BufRead, BufReader};
    let (folder, scene) = (tempfile::tempdir().expect("a folder"), Scene::new());
    let files = certificate(folder.path(), "a", &["a.test"]);
    let mut front = scene.front_with(speaks(vec![files.clone()]));
    for version in ["--http1.1", "--http2"] {
        let port = tls(&front).port();
        let mut curl = Command::new("curl")
            .args(["--silent", "--no-buffer", "--noproxy", "*", "--cacert"])
            .arg(&files.certificate)
            .args(["--resolve", &format!("a.test:{port}:127.0.0.1"), version])
            .arg(format!("https://a.test:{port}/sub/t"))
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("curl is there");
        let mut lines =
            BufReader::new(curl.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
        assert!(lines.any(|line| line.starts_with("retry:")), "{version}: it is open");
        assert_eq!(front.cluster.streams(), 1);
        scene.redis.run(&["PUBLISH", "t", "[\"Bob\"]"]);
        assert!(lines.any(|line| line == "data: Bob"), "{version}");
        curl.kill().expect("it runs");
        curl.wait().expect("it ended");
        eventually("it is closed", || front.cluster.streams() == 0);
    }
    front.stop();
    assert_eq!(front.ended().cut, 0);
}
