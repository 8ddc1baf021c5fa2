//! `/health`: the status that a service reports, and the client that queries it.

use axum::{extract::State, http::StatusCode, routing::get, Json, Router};
use futures_util::future::{join_all, BoxFuture};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

/// Timeout for each check; the client waits for the response to all of them.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// A little longer, so that the client still receives the report if a check times out.
const CLIENT_TIMEOUT: Duration = Duration::from_millis(2500);

/// Something that a service needs to work.
pub struct Check {
    name: &'static str,
    run: Box<dyn Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>,
}

impl Check {
    /// A check called `name`.
    pub fn new(
        name: &'static str,
        run: impl Fn() -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            run: Box::new(run),
        }
    }
}

/// The body of `/health`.
#[derive(Debug, Serialize)]
struct Report {
    service: &'static str,
    version: &'static str,
    status: &'static str,
    checks: BTreeMap<&'static str, &'static str>,
}

struct Health {
    service: &'static str,
    version: &'static str,
    checks: Vec<Check>,
}

/// A router that responds to `/health` with 200, or with 503 if a check fails.
pub fn router(service: &'static str, version: &'static str, checks: Vec<Check>) -> Router {
    Router::new()
        .route("/health", get(report))
        .with_state(Arc::new(Health {
            service,
            version,
            checks,
        }))
}

async fn report(State(health): State<Arc<Health>>) -> (StatusCode, Json<Report>) {
    let answers = join_all(health.checks.iter().map(|check| async {
        let outcome = match tokio::time::timeout(CHECK_TIMEOUT, (check.run)()).await {
            Ok(Ok(())) => return (check.name, "ok"),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "time-out".to_owned(),
        };
        // Only log the reason, because anyone may be able to access /health.
        tracing::warn!(check = check.name, %outcome, "unhealthy");
        (check.name, "failed")
    }));
    let checks: BTreeMap<_, _> = answers.await.into_iter().collect();
    let ok = checks.values().all(|answer| *answer == "ok");
    let report = Report {
        service: health.service,
        version: health.version,
        status: if ok { "ok" } else { "failed" },
        checks,
    };
    let status = if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report))
}

/// Queries the service on this machine's `port`; returns whether it is healthy, and the response body. Writes the HTTP
/// request to a plain socket, because a container's health check runs every few seconds and must be cheap.
pub fn ask(port: u16) -> io::Result<(bool, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, CLIENT_TIMEOUT)?;
    stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(read_answer(&answer))
}

fn read_answer(answer: &str) -> (bool, String) {
    let ok = answer
        .split_whitespace()
        .nth(1)
        .is_some_and(|code| code == "200");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (ok, body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::IntoFuture;
    use tokio::net::TcpListener;

    async fn asked(checks: Vec<Check>) -> (bool, String) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = axum::serve(listener, router("probe", "1.2.3", checks));
        let server = tokio::spawn(server.into_future());
        let answer = tokio::task::spawn_blocking(move || ask(port))
            .await
            .unwrap();
        server.abort();
        answer.unwrap()
    }

    fn check(name: &'static str, well: bool) -> Check {
        Check::new(name, move || {
            Box::pin(async move {
                if well {
                    Ok(())
                } else {
                    Err(anyhow::anyhow!("a reason"))
                }
            })
        })
    }

    #[tokio::test]
    async fn a_service_is_well_when_all_checks_are() {
        let (ok, body) = asked(vec![check("one", true), check("two", true)]).await;
        assert!(ok);
        assert_eq!(
            body,
            r#"{"service":"probe","version":"1.2.3","status":"ok","checks":{"one":"ok","two":"ok"}}"#
        );
    }

    #[tokio::test]
    async fn one_failed_check_is_enough_and_its_reason_stays_in_the_log() {
        let (ok, body) = asked(vec![check("one", true), check("two", false)]).await;
        assert!(!ok);
        assert!(body.contains(r#""two":"failed""#) && !body.contains("reason"));
    }

    #[test]
    fn nobody_there_is_an_error_and_nonsense_is_not_well() {
        let free = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        assert!(ask(port).is_err());
        assert!(!read_answer("").0);
        assert!(!read_answer("200 OK").0);
    }
}
