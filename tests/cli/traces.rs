//! Traces that a collector receives.
#![cfg_attr(not(feature = "otlp"), allow(unused_imports, reason = "most tests need the feature"))]

#[cfg(feature = "otlp")]
mod collector;

use std::net::TcpListener;
use std::time::Duration;

use crate::server::{Server, wait_until};
use crate::support::Cli;

#[cfg(not(feature = "otlp"))]
#[test]
fn program_without_the_feature_says_so() {
    let cli = Cli::new();
    std::fs::write(cli.path("config.toml"), "[log]\notlp = \"http://127.0.0.1:4318\"\n").unwrap();
    for arguments in [
        ["serve", "--listen=127.0.0.1:0", "--otlp", "http://127.0.0.1:4318"],
        ["serve", "--listen=127.0.0.1:0", "--config", "config.toml"],
    ] {
        let said = cli.run(arguments);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("feature `otlp`"), "{said:?}");
        assert_eq!(said.err.lines().count(), 1, "{said:?}");
    }
}

#[cfg(feature = "otlp")]
mod with_the_feature {
    use super::collector::{Collector, Seen};
    use super::*;

    const KEYS: &str = "/api/v1/auth/keys";
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn each_request_is_a_span_without_a_key() {
        let cli = Cli::new();
        let collector = Collector::start();
        let config = format!(
            "[log]\notlp = \"{}\"\n[layer]\nrecord_on_span = true\n",
            collector.url()
        );
        std::fs::write(cli.path("config.toml"), config).unwrap();
        let variables = [
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=of-the-collector"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ];
        let server = Server::with(&cli, &["--config", "config.toml"], &variables);
        let (id, key) = cli.key("orders", &["--scope", "orders:read"]);
        let operator = cli.read("operator.key");

        // Wherever a client puts a key.
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let headers = [
            ("authorization", &*format!("Bearer {operator}")),
            ("traceparent", &parent),
            ("tracestate", &format!("key={key}")),
            ("user-agent", &key),
        ];
        assert_eq!(
            server
                .request("GET", &format!("{KEYS}?name={key}"), &headers, "")
                .status,
            200
        );
        assert_eq!(server.ask(&format!("{KEYS}/{id}"), &operator), 200);
        assert_eq!(server.ask(&format!("{KEYS}/{key}?key={key}"), &operator), 404);
        assert_eq!(server.ask(&format!("/{key}"), &operator), 404);
        assert_eq!(server.ask(&format!("/api/v1/auth/{key}"), &operator), 404);
        assert_eq!(server.ask(KEYS, &format!("{key}x")), 401);
        assert_eq!(server.request(&key, KEYS, &[("x-api-key", &operator)], "").status, 405);
        assert_eq!(server.ask("/healthz", ""), 200);
        // They come while it serves.
        wait_until("the spans are there", || collector.spans().len() >= 8);

        let spans = collector.spans();
        let find = |name: &str, status: i64| {
            let found = spans
                .iter()
                .find(|span| span.name == name && span.number("http.response.status_code") == status);
            found.unwrap_or_else(|| panic!("{name} {status}: {spans:?}"))
        };
        let list = find("GET /api/v1/auth/keys", 200);
        assert_eq!(list.text("http.request.method"), "GET");
        assert_eq!(list.text("http.route"), "/api/v1/auth/keys");
        assert_eq!((&*list.trace, list.is_server), (TRACE, true));
        assert!(list.events.iter().any(|event| event.contains("admitted")), "{list:?}");
        let one = find("GET /api/v1/auth/keys/{id}", 200);
        assert_ne!(one.trace, TRACE);
        assert_ne!(one.text("api_key.id"), "", "{one:?}");
        find("GET /api/v1/auth/keys/{id}", 404);
        find("GET", 404);
        let refused = find("GET /api/v1/auth/keys", 401);
        assert!(
            refused.events.iter().any(|event| event.contains("malformed_key")),
            "{refused:?}"
        );
        assert_eq!(refused.text("api_key.id"), "");
        find("_OTHER /api/v1/auth/keys", 405);
        find("GET /healthz", 200);
        for request in collector.requests() {
            assert_eq!(request.path, "/v1/traces");
            assert_eq!(request.token, "of-the-collector");
            for secret in [&key, &operator] {
                // What follows prefix, environment and lookup.
                let secret = &secret.as_bytes()[secret.len() - 43..];
                assert!(!request.body.windows(secret.len()).any(|part| part == secret));
            }
        }
        let resource = collector.resource();
        assert!(
            resource.contains(&("service.name".to_owned(), "api-keys".to_owned())),
            "{resource:?}"
        );
        let stage = ("deployment.environment.name".to_owned(), "staging".to_owned());
        assert!(resource.contains(&stage), "{resource:?}");
        // The log has no spans: its lines are those of a server without traces.
        assert!(!server.log().contains("http.route"), "{}", server.log());
    }

    #[test]
    fn end_sends_what_waits() {
        let cli = Cli::new();
        let collector = Collector::start();
        // Nothing is sent before the end.
        let variables = [("OTEL_BSP_SCHEDULE_DELAY", "600000")];
        let server = Server::with(&cli, &["--otlp", &collector.url()], &variables);
        assert_eq!(server.ask("/readyz", ""), 200);
        assert_eq!(collector.spans().len(), 0);
        let ended = server.stop();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let names: Vec<String> = collector.spans().into_iter().map(|span: Seen| span.name).collect();
        assert_eq!(names, ["GET /readyz"]);
    }

    /// It refuses connections, or takes them and says nothing.
    #[test]
    fn collector_that_is_down_keeps_neither_requests_nor_the_end() {
        let cli = Cli::new();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let silent_url = format!("http://{}", silent.local_addr().unwrap());
        for url in ["http://127.0.0.1:1", &silent_url] {
            let variables = [
                ("OTEL_BSP_SCHEDULE_DELAY", "50"),
                ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
                // The end has a bound of its own.
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "600000"),
            ];
            let server = Server::with(&cli, &["--otlp", url], &variables);
            let key = cli.read("operator.key");
            // More than there is room for.
            for _ in 0..50 {
                assert_eq!(server.ask(KEYS, &key), 200);
            }
            if url != silent_url {
                wait_until("it says so", || {
                    server.log().contains("the collector does not take them")
                });
            }
            let ended = server.stop();
            assert_eq!(ended.code, Some(0), "{ended:?}");
            // It waits 5 s for the collector, and 30 s for requests if there are any.
            assert!(ended.after < Duration::from_secs(25), "{ended:?}");
        }
    }

    #[test]
    fn collector_that_fails_is_logged_once_until_it_takes_traces() {
        let cli = Cli::new();
        let collector = Collector::start();
        collector.answer(503);
        let variables = [("OTEL_BSP_SCHEDULE_DELAY", "50")];
        let server = Server::with(&cli, &["--otlp", &collector.url()], &variables);
        let ask_until = |what: &str, is_so: &dyn Fn() -> bool| {
            wait_until(what, || {
                assert_eq!(server.ask("/healthz", ""), 200);
                is_so()
            });
        };
        ask_until("it failed several times", &|| collector.requests().len() > 9);
        collector.answer(200);
        ask_until("it works", &|| server.log().contains("takes traces again"));
        let log = server.stop().log;
        assert_eq!(log.matches("traces are lost").count(), 1, "{log}");
        assert!(log.contains("it answers 503"), "{log}");
        assert!(!log.contains("ExportError"), "{log}");
    }
}
