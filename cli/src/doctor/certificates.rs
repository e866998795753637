//! Whether the certificates of TLS can be used, and for how long.

use tempest_front::{Certificate, TlsConfig};

use super::Finding;

/// Those of public authorities are renewed when they have 30 days left.
const SOON_DAYS: i64 = 21;

/// A finding for each certificate.
pub(super) fn judge(tls: &TlsConfig) -> Vec<Finding> {
    tls.certificates.iter().map(judge_one).collect()
}

fn judge_one(files: &Certificate) -> Finding {
    let name = "tls.certificate";
    let path = files.certificate.display();
    let validity = match files.check() {
        Ok(validity) => validity,
        Err(wrong) => {
            return Finding::fail(name, wrong, "the front needs both files as PEM, readable for its user");
        }
    };
    let names = match validity.names.as_slice() {
        [] => "no host".to_owned(),
        names => names.join(", "),
    };
    let days = validity.days_left;
    match (validity.is_valid, days) {
        (true, ..SOON_DAYS) => Finding::warn(
            name,
            format!("{path} for {names} ends in {days} days"),
            "renew it; the front reads it again by itself",
        ),
        (true, _) => Finding::ok(name, format!("{path} for {names}, {days} days left")),
        (false, ..0) => Finding::fail(
            name,
            format!("{path} for {names} ended {} days ago", -days),
            "renew it; the front reads it again by itself",
        ),
        (false, _) => Finding::fail(
            name,
            format!("{path} for {names} is not valid yet"),
            "look at the clock of this machine: timedatectl",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::doctor::Level;

    /// A certificate that is valid for this many days from now on.
    fn of_days(from: i64, until: i64) -> Finding {
        let dir = tempfile::TempDir::new().unwrap();
        let files = Certificate { certificate: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let day = |days: i64| {
            let seconds = now.as_secs().checked_add_signed(days * 86_400 + 60).unwrap();
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
        };
        let mut params = rcgen::CertificateParams::new(["shop.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (day(from), day(until));
        let key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        judge_one(&files)
    }

    #[test]
    fn days_are_counted() {
        let good = of_days(-1, 60);
        assert_eq!(good.level, Level::Ok);
        assert!(good.found.ends_with("for shop.example, 60 days left"), "{good}");
        let soon = of_days(-80, 5);
        assert_eq!(soon.level, Level::Warn);
        assert!(soon.found.ends_with("ends in 5 days"), "{soon}");
        let over = of_days(-90, -2);
        assert_eq!(over.level, Level::Fail);
        assert!(over.found.ends_with("ended 2 days ago"), "{over}");
        assert_eq!(of_days(1, 60).level, Level::Fail);
    }
}
