//! The server: a request finds its route, gets an instance of its own, and streams both ways.

use crate::guest::{self, Guest};
use crate::manifest::{Application, Component};
use crate::routes::{Match, Routes};
use crate::store::KeyValue;
use anyhow::{Context as _, Result};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use wasmtime::component::Linker;
use wasmtime::{Cache, CacheConfig, Config, Engine, Store};
use wasmtime_wasi_http::p2::bindings::{ProxyPre, http::types::Scheme};
use wasmtime_wasi_http::{WasiBody, WasiHttpView as _};

/// An application, compiled and ready.
pub(crate) struct Server {
    engine: Engine,
    routes: Routes,
    components: HashMap<String, (Arc<Component>, ProxyPre<Guest>)>,
    key_value: KeyValue,
    state_dir: Arc<PathBuf>,
    clock: Option<PathBuf>,
}

impl Server {
    /// Compiles the components, each file once; the compiled code is kept in the state directory for the
    /// next start.
    pub(crate) fn new(
        application: Application,
        directory: &Path,
        state_dir: &Path,
        clock: Option<PathBuf>,
    ) -> Result<Arc<Self>> {
        let mut cache = CacheConfig::new();
        cache.with_directory(state_dir.join("compiled"));
        let mut config = Config::new();
        config.cache(Some(Cache::new(cache)?));
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        guest::add_to_linker(&mut linker)?;

        let mut compiled = HashMap::new();
        let mut components = HashMap::new();
        for (id, component) in application.components {
            let path = directory.join(&component.source);
            let prepared: &ProxyPre<Guest> = match compiled.entry(path) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    let prepared = prepare(&linker, entry.key());
                    let prepared = prepared
                        .with_context(|| format!("component {id}: cannot load {}", entry.key().display()))?;
                    entry.insert(prepared)
                }
            };
            components.insert(id, (Arc::new(component), prepared.clone()));
        }
        Ok(Arc::new(Self {
            engine,
            routes: application.routes,
            components,
            key_value: KeyValue::open(state_dir)?,
            state_dir: Arc::new(state_dir.to_owned()),
            clock,
        }))
    }

    /// Serves until it is dropped. Says so on standard output once a request can be answered.
    pub(crate) async fn listen(self: Arc<Self>, address: &str) -> Result<()> {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
        println!("Serving http://{}", listener.local_addr()?);
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    tokio::spawn(self.clone().serve_connection(stream, peer));
                }
                Err(error) => eprintln!("spin-host: cannot accept a connection: {error}"),
            }
        }
    }

    async fn serve_connection(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        // Small chunks are to be seen when they are written, not when the last ones were acknowledged.
        let _ = stream.set_nodelay(true);
        let service = hyper::service::service_fn(move |request| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.answer(request, peer).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(hyper_util::rt::TokioIo::new(stream), service);
        // An error is a caller that went away or spoke no HTTP: nothing to do about either.
        let _ = connection.await;
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<WasiBody> {
        let path = request.uri().path().to_owned();
        let Some(found) = self.routes.find(&path) else {
            return plain(StatusCode::NOT_FOUND, "no route leads there\n");
        };
        let component = found.component;
        match self.call(request, peer, &found).await {
            Ok(response) => response,
            Err(error) => {
                eprintln!("spin-host: component {component}: {error:?}");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "the component failed\n")
            }
        }
    }

    /// Calls the component and returns as soon as it has set a response. The call itself goes on: the body
    /// is still to be written, and there may be work to do after it.
    async fn call(
        &self,
        mut request: Request<Incoming>,
        peer: SocketAddr,
        found: &Match<'_>,
    ) -> Result<Response<WasiBody>> {
        add_spin_headers(&mut request, peer, found);
        let (component, prepared) = &self.components[found.component];
        let guest =
            Guest::new(component.clone(), self.key_value.clone(), self.state_dir.clone(), self.clock.clone());
        let mut store = Store::new(&self.engine, guest);
        let (sender, receiver) = oneshot::channel();
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let out = store.data_mut().http().new_response_outparam(sender)?;
        let proxy = prepared.instantiate_async(&mut store).await?;

        // In a task of its own: a caller who hangs up must not stop the guest, which may have to say so in
        // a record.
        let call = tokio::spawn(async move {
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
        });
        let Ok(response) = receiver.await else {
            call.await??;
            anyhow::bail!("it returned without a response");
        };
        let component = found.component.to_owned();
        tokio::spawn(async move {
            match call.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    eprintln!("spin-host: component {component}, after its response: {error:?}")
                }
                Err(error) => eprintln!("spin-host: component {component}, after its response: {error}"),
            }
        });
        Ok(response?)
    }
}

fn prepare(linker: &Linker<Guest>, path: &Path) -> Result<ProxyPre<Guest>> {
    let component = wasmtime::component::Component::from_file(linker.engine(), path)?;
    Ok(ProxyPre::new(linker.instantiate_pre(&component)?)?)
}

/// What Spin tells a component about its route and its caller, in headers. A caller's own are replaced.
fn add_spin_headers(request: &mut Request<Incoming>, peer: SocketAddr, found: &Match<'_>) {
    let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
    let full_url = format!("http://{}{}", host.unwrap_or("localhost"), request.uri());
    let prefix = found.pattern.strip_suffix("/...").unwrap_or(found.pattern);
    let headers = request.headers_mut();
    set(headers, "spin-base-path", "/");
    set(headers, "spin-client-addr", &peer.to_string());
    set(headers, "spin-component-route", prefix);
    set(headers, "spin-full-url", &full_url);
    set(headers, "spin-matched-route", found.pattern);
    set(headers, "spin-path-info", &found.wildcard);
    set(headers, "spin-raw-component-route", found.pattern);
    for (name, value) in &found.parameters {
        set(headers, &format!("spin-path-match-{name}"), value);
    }
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<WasiBody> {
    let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}
