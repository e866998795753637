//! `tempest acl`

use serde_json::{Value, json};
use tempest_broker::{
    Settings,
    acl::{self, Accounts, RESET, Role, Scope},
};

use crate::{
    acl::{Password, passwords},
    args::{Account, AclArgs, AclFormat},
    config::{Config, Sources},
    failure::Failure,
    log,
    output::{print, print_json},
};

/// An account as it is written down or set.
struct User {
    name: String,
    role: Role,
    rules: Vec<String>,
    password: Option<Password>,
}

pub(crate) async fn run(args: &AclArgs) -> Result<(), Failure> {
    let sources =
        Sources { flags: args.flags.given(), file: None, up: super::running(), only_connects: true };
    let config = Config::load(&sources)?;
    log::start(&config, true);
    let settings = config.broker(None, "tempest acl");
    let users = users(args, &settings)?;
    let saved = if args.apply { Some(set(&settings, &users, args.add_password).await?) } else { None };
    if args.as_json {
        print_json(&users.iter().map(as_json).collect())?;
    } else if !args.apply {
        print(users.iter().map(|user| line(user, args.format)).collect::<String>().as_bytes())?;
    }
    say(args, &users, saved);
    Ok(())
}

fn users(args: &AclArgs, settings: &Settings) -> Result<Vec<User>, Failure> {
    let mistakes = mistakes(args);
    if !mistakes.is_empty() {
        return Err(Failure::usage(mistakes));
    }
    let passwords = passwords(args)?;
    let scope = Scope { queues: &args.queues, topics: &args.topics };
    let user = |(account, password): (&Account, Option<Password>)| User {
        name: account.name.clone(),
        role: account.role,
        rules: acl::rules(settings, account.role, &scope),
        password,
    };
    Ok(args.users.iter().zip(passwords).map(user).collect())
}

/// Everything that was left out or said twice.
fn mistakes(args: &AclArgs) -> Vec<String> {
    let mut mistakes = Vec::new();
    for (at, account) in args.users.iter().enumerate() {
        if args.users[..at].iter().any(|other| other.name == account.name) {
            mistakes.push(format!(
                "two accounts are called {0}: name one of them, --user {1}=NAME",
                account.name,
                account.role.as_str()
            ));
        }
        if account.role.is_of_queues() && args.queues.is_empty() {
            mistakes.push(format!("which queues may {} use? --queue QUEUE", account.name));
        }
        if account.role == Role::Publisher && args.topics.is_empty() {
            mistakes.push(format!(
                "to which topics may {} publish? --topic PATTERN, like 'news.*'",
                account.name
            ));
        }
    }
    mistakes
}

/// `on`, its passwords, and its rules in the place of whatever it had.
fn words(user: &User, keep_passwords: bool) -> Vec<String> {
    let mut words = vec!["on".to_owned()];
    if let Some(password) = &user.password {
        words.extend((!keep_passwords).then(|| "resetpass".into()));
        words.push(password.rule());
    }
    words.extend(RESET.map(str::to_owned));
    words.extend(user.rules.iter().cloned());
    words
}

fn line(user: &User, format: AclFormat) -> String {
    let words = words(user, false);
    match format {
        AclFormat::File => format!("user {} {}\n", user.name, words.join(" ")),
        AclFormat::Setuser => {
            // What redis-cli reads as one word although it has blanks.
            let quoted = words
                .iter()
                .map(|word| if word.contains(' ') { format!("\"{word}\"") } else { word.clone() });
            format!("ACL SETUSER {} {}\n", user.name, quoted.collect::<Vec<_>>().join(" "))
        }
    }
}

fn as_json(user: &User) -> Value {
    let password = user.password.as_ref();
    json!({
        "user": user.name,
        "role": user.role.as_str(),
        "rules": words(user, false),
        "password": password.and_then(|password| password.generated.as_ref()),
    })
}

/// Gives whether Redis has written them to its file.
async fn set(settings: &Settings, users: &[User], keep_passwords: bool) -> Result<bool, Failure> {
    let mut accounts = Accounts::open(settings).await?;
    for user in users {
        accounts.set(&user.name, &words(user, keep_passwords)).await?;
    }
    Ok(accounts.save().await?)
}

/// What was done, and what is left to do; not on standard output, which may be a file of accounts.
fn say(args: &AclArgs, users: &[User], saved: Option<bool>) {
    for user in users {
        let (name, role) = (&user.name, user.role.as_str());
        match (&user.password, args.apply) {
            (Some(password), _) if password.generated.is_some() && !args.as_json => {
                let text = password.generated.as_deref().unwrap_or_default();
                eprintln!("tempest: {name}: the password is {text} (it is shown only now)");
            }
            (None, false) => eprintln!(
                "tempest: {name} has no password yet, so nobody connects as it: add --generate, --password-stdin or --password-env"
            ),
            _ => {}
        }
        if args.apply {
            eprintln!("tempest: set the account {name} with the rights of a {role}");
        }
    }
    match saved {
        Some(true) => eprintln!("tempest: Redis has saved its accounts"),
        Some(false) => eprintln!(
            "tempest: this Redis has no ACL file, so they are gone when it starts again; without --apply they are printed as lines for one (aclfile FILE in redis.conf)"
        ),
        None => {}
    }
}
