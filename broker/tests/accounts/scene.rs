//! A Redis with an account for each role, and brokers that use them.

use std::time::Duration;

use bytes::Bytes;
use tempest_broker::{
    Broker, Settings,
    acl::{self, Accounts, Role, Scope},
};
use tempest_protocol::{Action, Encoding, Envelope, JobId, Queue, Raw};

use crate::server::{Answer, Server};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Scene {
    pub(crate) server: Server,
}

impl Scene {
    /// Accounts of every role for the queue `mail` and topics `news.*`, one of every role for the names of the table, and
    /// one of every role for no topics.
    pub(crate) async fn start() -> Self {
        let scene = Self { server: Server::start() };
        let settings = Settings::new(scene.server.url(), "test");
        let mut accounts = Accounts::open(&settings).await.expect("connected");
        for role in Role::ALL {
            for (ending, queue, topics) in [
                ("", "mail", vec!["news.*".to_owned()]),
                ("-doctor", "doctor", vec!["doctor".to_owned()]),
                ("-mute", "mail", vec![]),
            ] {
                let (name, queues) =
                    (format!("{}{ending}", role.as_str()), [Queue::new(queue).expect("a name")]);
                let scope = Scope { queues: &queues, topics: &topics };
                let rules = acl::rules(&settings, role, &scope);
                let words: Vec<_> =
                    ["on".to_owned(), ">secret".to_owned()].into_iter().chain(rules).collect();
                accounts.set(&name, &words).await.expect("rules that Redis understands");
            }
        }
        scene
    }

    pub(crate) fn settings(&self, name: &str) -> Settings {
        Settings::new(self.server.url().replace("//", &format!("//{name}:secret@")), "test")
    }

    pub(crate) async fn broker(&self, role: Role) -> Broker {
        Broker::connect(self.settings(role.as_str())).await.expect("an account that may")
    }

    /// Whether Redis would let an account do this.
    pub(crate) fn may(&self, name: &str, command: &[&str]) -> bool {
        match self.server.run(&[&["ACL", "DRYRUN", name], command].concat()) {
            Answer::Text(text) => text == b"OK",
            other => panic!("{command:?}: {other:?}"),
        }
    }

    /// What Redis denied so far, as whoever reads its log sees it.
    #[track_caller]
    pub(crate) fn denied_nothing(&self) {
        assert_eq!(self.server.run(&["ACL", "LOG"]), Answer::List(Vec::new()), "it was denied");
    }
}

pub(crate) fn queue() -> Queue {
    Queue::new("mail").expect("a name")
}

/// A job that somebody waits for at this mailbox.
pub(crate) fn job(id: &str, reply_to: &str) -> Bytes {
    let envelope = Envelope {
        id: Some(JobId::new(id).expect("a name")),
        reply_to: Some(reply_to.to_owned()),
        ..Envelope::new(Action::new("send").expect("a name"))
    };
    envelope.encode(&Raw::encode(Encoding::Json, &()).expect("null"))
}
