//! `tempest init`

use std::{fs, io::Write};

use crate::{
    args::InitArgs,
    failure::Failure,
    output::print,
    setting::{Kind, SETTINGS, Setting},
};

const ROUTES: &str = r#"
# Routes: which requests, and where they go. Exactly one of queue, topic, static and jobs. Without any, these two hold.
#   host, methods                            only for these: host = "example.org", methods = ["GET", "HEAD"]
#   queue, action, lane, encoding            to workers: action = "url", lane = "high", encoding = "msgpack"
#   timeout_ms, body_bytes_max               instead of the front's own
#   idempotency_key = true                   a request with Idempotency-Key may be run again when its worker dies
#   background = true                        the client gets a 202 at once, the job is done later
#   jobs = true                              what became of such jobs: path = "/jobs/{queue}/{id}"
#   static = "public"                        files below a folder beside this file

[[route]]
path = "/sub/{*topic}"
topic = "{topic}"

[[route]]
path = "/{*rest}"
queue = "default"

# Workers: what `tempest up` starts, watches, and starts again when it dies. Any program in any language; it finds its
# cluster in TEMPEST_REDIS_URL, TEMPEST_PREFIX, TEMPEST_QUEUE, TEMPEST_LANES and TEMPEST_WORKER_TAG.
#
# [[worker]]
# name = "web"
# command = "python worker.py"        # as a shell would cut it, or ["python", "worker.py"]; no shell is involved
# queues = ["default"]
# lanes = ["normal"]                  # or ["high", "normal", "low"]
# count = 1
# env = { GREETING = "hello" }
# dir = "."                           # where it starts; relative to this file
# beat = true                         # for a worker without SDK: the supervisor holds its lease (TEMPEST_WORKER_ID)
# memory_mib_max = 512                # beyond a limit it is replaced, the next one first; also age_ms_max, jobs_max
# run_ms_max = 60000                  # a job that runs longer costs its worker; also stall_ms_max

# Schedules: jobs that are pushed again and again, once however many fronts there are. tempest schedules shows them.
#
# [[schedule]]
# name = "nightly"
# queue = "default"
# cron = "30 2 * * *"                 # minute hour day month weekday, or @hourly; or every_ms = 60000 instead
# zone = "Europe/Berlin"              # absent: UTC
# action = "report"
# args = { days = 1 }                 # any value
# missed = "once"                     # what nobody was there for: skip, once, all
"#;

pub(crate) fn run(args: &InitArgs) -> Result<(), Failure> {
    let path = &args.file;
    let mut options = fs::OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(path).and_then(|mut file| file.write_all(text().as_bytes()));
    match written {
        Ok(()) => print(format!("wrote {}; tempest up uses it\n", path.display()).as_bytes()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Failure::new(format!("{} is there already; --force overwrites it", path.display())))
        }
        Err(error) => Err(Failure::new(format!("cannot write {}: {error}", path.display()))),
    }
}

/// The table of settings as a file in which everything stands at its default.
fn text() -> String {
    let mut text = String::from(
        "# Tempest. Everything here is at its default; `tempest config` shows what is in force and why.\n\
         # A variable of the environment wins over this file, an option of the command line over both.\n",
    );
    let mut section = "";
    for setting in SETTINGS {
        let (of, key) = setting.section_and_key();
        if of != section {
            text += &format!("\n[{of}]\n");
            section = of;
        }
        text += &format!(
            "# {} ({}, --{})\n# {key} = {}\n",
            setting.doc,
            setting.variable,
            setting.flag,
            value(setting)
        );
    }
    text + ROUTES
}

fn value(setting: &Setting) -> String {
    match setting.kind {
        Kind::Integer { .. } | Kind::Share => setting.default.to_owned(),
        _ => format!("{:?}", setting.default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `init` writes is good as it is, and with every line in force.
    #[test]
    fn the_file_it_writes_is_good() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("tempest.toml");
        fs::write(&path, text()).unwrap();
        let file = crate::file::read(&path).unwrap();
        assert!(file.values.is_empty() && file.workers.is_empty());
        assert_eq!(file.routes.len(), 2);
        let in_force: String = text()
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if !rest.starts_with(' ') && (rest.contains(" = ") || rest.starts_with("[[")) => {
                    format!("{rest}\n")
                }
                _ => format!("{line}\n"),
            })
            .collect();
        fs::write(&path, in_force).unwrap();
        let file = crate::file::read(&path).unwrap();
        assert_eq!(file.values.len(), SETTINGS.len());
        for (setting, value, _) in &file.values {
            assert_eq!(value, setting.default, "{}", setting.key);
        }
        assert_eq!((file.workers.len(), file.schedules.len()), (1, 1));
    }
}
