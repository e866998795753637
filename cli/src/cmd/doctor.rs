//! `tempest doctor`

use serde_json::{Value, json};

use crate::{
    args::DoctorArgs,
    config::{Config, Sources},
    doctor::{self, Finding, Level},
    failure::Failure,
    output::{print, print_json},
};

pub(crate) async fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let sources = Sources {
        flags: args.flags.given(),
        file: args.file.config.as_deref(),
        up: super::running(),
        only_connects: false,
    };
    let findings = Box::pin(doctor::examine(Config::load(&sources))).await;
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (good, warnings, failures) = (count(Level::Ok), count(Level::Warn), count(Level::Fail));
    if args.as_json {
        print_json(
            &json!({ "ok": failures == 0, "checks": findings.iter().map(as_json).collect::<Value>() }),
        )?;
    } else {
        let lines: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
        print(format!("{lines}{good} ok, {warnings} to think about, {failures} to mend\n").as_bytes())?;
    }
    match failures {
        0 => Ok(()),
        failures => Err(Failure::new(format!("{failures} of {} checks failed", findings.len()))),
    }
}

fn as_json(finding: &Finding) -> Value {
    let Finding { check, level, found, mend } = finding;
    json!({ "check": check, "level": level.as_str(), "found": found, "mend": mend })
}
