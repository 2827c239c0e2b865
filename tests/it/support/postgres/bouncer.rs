//! PgBouncer in front of a server.

use std::fs::write;
use std::path::PathBuf;
use std::process::Child;

use super::place::{Owner, Place};
use super::processes::{start, wait_until};
use super::{Server, psql, setting, try_psql, url};

/// In session mode: each connection has a server's connection until it ends. Ends with the test process.
pub(crate) struct Bouncer {
    process: Child,
    place: Place,
}

impl Bouncer {
    pub(crate) fn start(server: &Server) -> Self {
        let program = PathBuf::from(setting("API_KEYS_TEST_PGBOUNCER"));
        for _ in 0..9 {
            let place = Place::new();
            configure(&place, server);
            // It has one process, which needs no time to end.
            let process = start(&program, &["bouncer.ini".into()], "KILL", &place);
            let mut bouncer = Self { process, place };
            let mut has_ended = false;
            wait_until("PgBouncer accepts connections", || {
                has_ended = bouncer.process.try_wait().unwrap().is_some();
                has_ended || try_psql(&bouncer.admin_url(), "SHOW VERSION").is_ok()
            });
            if !has_ended {
                return bouncer;
            }
            // Another run of tests may have taken the port meanwhile.
            let log = bouncer.log();
            assert!(
                log.contains("Address already in use"),
                "PgBouncer does not start:\n{log}"
            );
        }
        panic!("no port is free");
    }

    pub(crate) fn url(&self) -> String {
        url(self.place.port)
    }

    pub(crate) fn log(&self) -> String {
        self.place.log()
    }

    /// New connections go to another server; those that are open are cut.
    pub(crate) fn switch_to(&self, server: &Server) {
        configure(&self.place, server);
        self.admin("RELOAD");
        // PAUSE would wait until all sessions have ended.
        for line in self.admin("SHOW DATABASES").lines() {
            let name = line.split('|').next().unwrap_or_default();
            if name != "pgbouncer" {
                self.admin(&format!("KILL {name}"));
                self.admin(&format!("RESUME {name}"));
            }
        }
    }

    /// What a command of the console prints, such as `SHOW POOLS`: a line for each row, `|` between columns.
    pub(crate) fn admin(&self, command: &str) -> String {
        psql(&self.admin_url(), command)
    }

    fn admin_url(&self) -> String {
        format!("{}/pgbouncer", self.url().trim_end_matches("/postgres"))
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Each user of the server comes in without a password, as on the server.
fn configure(place: &Place, server: &Server) {
    let settings = format!(
        "[databases]\n\
         postgres = host=127.0.0.1 port={server}\n\
         * = host=127.0.0.1 port={server}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         pool_mode = session\n\
         max_client_conn = 200\n\
         default_pool_size = 50\n\
         auth_type = trust\n\
         auth_file = users.txt\n\
         auth_user = postgres\n\
         admin_users = postgres\n",
        server = server.port(),
        port = place.port,
    );
    for (name, text) in [("bouncer.ini", settings.as_str()), ("users.txt", "\"postgres\" \"\"\n")] {
        let path = place.folder.join(name);
        write(&path, text).unwrap();
        Owner::new().give(&path, 0o600);
    }
}
