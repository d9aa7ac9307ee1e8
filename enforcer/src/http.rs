//! `/metrics`, `/healthz` and `/readyz`.
//!
//! Requests are bounded in number, size and time, so that nobody who can reach the page holds up the controller.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::clients;
use crate::metrics::Metrics;
use crate::state::State;

/// Connections at a time.
const CONNECTIONS: usize = 32;
/// For the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// For a connection from its start to its end.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// Octets of a request's head.
const HEADER_BYTES: usize = 16 << 10;

type Answer = Response<Full<Bytes>>;

/// Takes the address.
///
/// # Errors
/// When it is in use, or not an address of this machine.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers requests for as long as the task lives.
pub async fn serve(listener: TcpListener, state: Arc<State>, metrics: Arc<Metrics>) {
    clients::serve(listener, "the metrics page", CONNECTIONS, |stream, place| {
        let conversation = converse(stream, Arc::clone(&state), Arc::clone(&metrics));
        async {
            // A client that is too slow, or sends nonsense, is its own problem.
            let _ = timeout(CONNECTION_TIMEOUT, conversation).await;
            drop(place);
        }
    })
    .await;
}

async fn converse(stream: TcpStream, state: Arc<State>, metrics: Arc<Metrics>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let (state, metrics) = (Arc::clone(&state), Arc::clone(&metrics));
        async move { Ok::<_, Infallible>(answer(request.method(), request.uri().path(), state, metrics).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(method: &Method, path: &str, state: Arc<State>, metrics: Arc<Metrics>) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    }
    match path {
        "/metrics" => {
            // Reading some ten thousand counters takes milliseconds that others should not wait for.
            match tokio::task::spawn_blocking(move || metrics.page()).await {
                Ok(Ok(page)) => text(StatusCode::OK, page),
                _ => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be read\n"),
            }
        }
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => {
            let status = state.status();
            if status.ready {
                text(StatusCode::OK, "ok\n")
            } else {
                text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    status.not_ready_because.join("\n") + "\n",
                )
            }
        }
        "/" => text(StatusCode::OK, "/metrics\n/healthz\n/readyz\n"),
        _ => text(StatusCode::NOT_FOUND, "there are /metrics, /healthz and /readyz\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::state::tests::{make_ready, state};

    async fn served() -> (SocketAddr, Arc<State>) {
        let state = Arc::new(state());
        let metrics = Arc::new(Metrics::new(Arc::clone(&state)).unwrap());
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, Arc::clone(&state), metrics));
        (address, state)
    }

    /// Sends `request` and reads until the server hangs up.
    async fn say(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn get(address: SocketAddr, path: &str) -> String {
        say(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
    }

    #[tokio::test]
    async fn readiness_follows_the_state_and_says_why_not() {
        let (address, state) = served().await;
        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(
            answer.contains("no policy is in force") && answer.contains("trunk1"),
            "{answer}"
        );
        state.update(make_ready);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn the_metrics_page_is_text() {
        let (address, _) = served().await;
        let answer = get(address, "/metrics").await;
        assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
        assert!(answer.contains("\nenforcer_ready 0\n"), "{answer}");
    }

    #[tokio::test]
    async fn what_is_no_such_request_is_refused() {
        let (address, _) = served().await;
        assert!(get(address, "/secret").await.starts_with("HTTP/1.1 404"));
        let post = say(
            address,
            "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
        assert!(post.starts_with("HTTP/1.1 405"), "{post}");
        let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(2 * HEADER_BYTES));
        let huge = say(address, &huge).await;
        assert!(!huge.starts_with("HTTP/1.1 200"), "{huge}");
    }

    #[tokio::test]
    async fn clients_that_say_nothing_do_not_shut_others_out() {
        let (address, _) = served().await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS * 8 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        // Were they to wait until the silent ones are given up, this would take eight times as long.
        let answer = timeout(HEADER_TIMEOUT * 2, get(address, "/healthz"))
            .await
            .expect("an answer in time");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        drop(silent);
    }

    #[tokio::test]
    async fn an_address_in_use_is_an_error() {
        let (address, _) = served().await;
        assert_eq!(bind(address).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
