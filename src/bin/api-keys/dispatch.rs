//! Which command does what.

use clap::CommandFactory;

use crate::api::Api;
use crate::args::{Arguments, Auth, Command};
use crate::commands::{audit, doctor, init, migrate, scan, serve, verify};
use crate::failure::Failure;
use crate::global::Global;
use crate::work::{Work, output};

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { global, command } = arguments;
    // Those that work on nothing need nothing of the environment.
    let command = match command {
        Command::Completions(completions) => return completions.run(Arguments::command()),
        Command::Man(man) => return man.run(Arguments::command()),
        Command::ScannerRules(rules) => return rules.run(&global),
        command => command,
    };
    let global = global.with_environment()?;
    match command {
        Command::Init(init) => init::run(&global, init).await,
        Command::Serve(serve) => serve::run(&global, serve).await,
        Command::Verify(verify) => verify::run(&global, verify).await,
        Command::Audit(audit::Audit::List(list)) => over_the_api(&global, async |work| list.run(work).await).await,
        Command::Audit(audit) => audit::run(&global, audit).await,
        Command::Scan(scan) => scan::run(&global, scan).await,
        Command::Doctor(doctor) => doctor::run(&global, doctor).await,
        Command::Migrate(migrate) => migrate::run(&global, migrate).await,
        Command::Copy(copy) => copy.run(&global).await,
        Command::Backup(backup) => backup.run(&global).await,
        Command::Restore(restore) => restore.run(&global).await,
        Command::Adopt(adopt) => adopt.run(&global).await,
        Command::Maintain(maintain) => maintain.run(&global).await,
        Command::Bench(bench) => bench.run(&global).await,
        command => over_the_api(&global, async |work| on_rows(work, command).await).await,
    }
}

/// Commands that are requests of the management API.
async fn on_rows(work: &Work, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(create) | Command::Auth(Auth::CreateKey(create)) => create.run(work).await,
        Command::List(list) | Command::Auth(Auth::ListKeys(list)) => list.run(work).await,
        Command::Show(one) => one.show(work).await,
        Command::Update(update) => update.run(work).await,
        Command::Enable(one) => one.enable(work).await,
        Command::Disable(one) => one.disable(work).await,
        Command::Revoke(revoke) | Command::Auth(Auth::RevokeKey(revoke)) => revoke.run(work).await,
        Command::Rotate(rotate) | Command::Auth(Auth::RotateKey(rotate)) => rotate.run(work).await,
        Command::Org(org) => org.run(work).await,
        Command::User(user) => user.run(work).await,
        Command::Plan(plan) => plan.run(work).await,
        Command::Role(role) => role.run(work).await,
        Command::Scope(scope) => scope.run(work).await,
        Command::Bulk(bulk) => bulk.run(work).await,
        Command::Stats(stats) => stats.run(work).await,
        Command::Hygiene(hygiene) => hygiene.run(work).await,
        Command::Incident(incident) => incident.run(work).await,
        _ => Ok(()),
    }
}

/// What works alike on a database and on a server.
async fn over_the_api(global: &Global, command: impl AsyncFnOnce(&Work) -> Result<(), Failure>) -> Result<(), Failure> {
    let work = Work {
        api: Api::open(global).await?,
        output: output(global),
        yes: global.yes,
    };
    let done = command(&work).await;
    // What was changed is announced and stored before the program ends.
    work.api.close().await;
    done
}
