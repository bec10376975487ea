//! What a component finds when it calls out: key-value, SQLite, variables, and HTTP to the hosts it was granted.

use crate::manifest::Component;
use crate::store::{self, KeyValue};
use bindings::fermyon::spin::{key_value, sqlite, variables};
use http_body_util::BodyExt as _;
use rusqlite::types::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};
use wasmtime_wasi::{HostWallClock, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

/// The state of one instance, and so of one request.
pub(crate) struct Guest {
    component: Arc<Component>,
    key_value: KeyValue,
    state_dir: Arc<PathBuf>,
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
}

/// An open key-value store: its label.
#[expect(unreachable_pub, reason = "the generated code re-exports it")]
pub struct Store(String);

/// An open database.
#[expect(unreachable_pub, reason = "the generated code re-exports it")]
pub struct Connection(store::Shared);

/// The gate before outbound requests.
struct Outbound(Arc<Component>);

impl Guest {
    pub(crate) fn new(
        component: Arc<Component>,
        key_value: KeyValue,
        state_dir: Arc<PathBuf>,
        clock: Option<PathBuf>,
    ) -> Self {
        let mut wasi = WasiCtxBuilder::new();
        wasi.inherit_stdout().inherit_stderr();
        if let Some(file) = clock {
            wasi.wall_clock(SetClock(file));
        }
        for (name, value) in &component.environment {
            wasi.env(name, value);
        }
        Self {
            outbound: Outbound(component.clone()),
            component,
            key_value,
            state_dir,
            table: ResourceTable::new(),
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
        }
    }
}

/// A clock that somebody sets.
struct SetClock(PathBuf);

impl HostWallClock for SetClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        let read = std::fs::read_to_string(&self.0).ok();
        let ms = read.and_then(|text| text.trim().parse().ok());
        Duration::from_millis(ms.expect("the clock's file has the time in milliseconds"))
    }
}

/// Everything a component may import.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    bindings::Imports::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outbound }
    }
}

type Io = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), HttpError>> + Send> {
        let allowed = self.0.allowed_hosts.iter().any(|host| host.allows(request.uri()));
        Box::new(async move {
            if !allowed {
                let origin = (request.uri().scheme_str(), request.uri().authority());
                eprintln!("spin-host: not in allowed_outbound_hosts: {origin:?}");
                return Err(HttpError::HttpRequestDenied);
            }
            let (response, io) = wasmtime_wasi_http::default_send_request(request, options).await?;
            Ok((response.map(|body| body.boxed_unsync()), Box::new(io) as Io))
        })
    }
}

impl variables::Host for Guest {
    async fn get(&mut self, name: String) -> Result<Result<String, variables::Error>> {
        Ok(match self.component.variables.get(&name) {
            Some(value) => Ok(value.clone()),
            None => Err(variables::Error::Undefined(format!("no variable {name:?} for this component"))),
        })
    }
}

impl key_value::Host for Guest {}

impl key_value::HostStore for Guest {
    async fn open(&mut self, label: String) -> Result<Result<Resource<Store>, key_value::Error>> {
        if !self.component.key_value_stores.contains(&label) {
            return Ok(Err(key_value::Error::AccessDenied));
        }
        Ok(Ok(self.table.push(Store(label))?))
    }

    async fn get(
        &mut self,
        store: Resource<Store>,
        key: String,
    ) -> Result<Result<Option<Vec<u8>>, key_value::Error>> {
        self.with_store(&store, move |all, label| all.get(label, &key)).await
    }

    async fn set(
        &mut self,
        store: Resource<Store>,
        key: String,
        value: Vec<u8>,
    ) -> Result<Result<(), key_value::Error>> {
        self.with_store(&store, move |all, label| all.set(label, &key, &value)).await
    }

    async fn delete(&mut self, store: Resource<Store>, key: String) -> Result<Result<(), key_value::Error>> {
        self.with_store(&store, move |all, label| all.delete(label, &key)).await
    }

    async fn exists(
        &mut self,
        store: Resource<Store>,
        key: String,
    ) -> Result<Result<bool, key_value::Error>> {
        self.with_store(&store, move |all, label| Ok(all.get(label, &key)?.is_some())).await
    }

    async fn get_keys(&mut self, store: Resource<Store>) -> Result<Result<Vec<String>, key_value::Error>> {
        self.with_store(&store, |all, label| all.keys(label)).await
    }

    async fn drop(&mut self, store: Resource<Store>) -> Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}

impl Guest {
    async fn with_store<T: Send + 'static>(
        &mut self,
        store: &Resource<Store>,
        work: impl FnOnce(&KeyValue, &str) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Result<T, key_value::Error>> {
        let (all, label) = (self.key_value.clone(), self.table.get(store)?.0.clone());
        let result = tokio::task::spawn_blocking(move || work(&all, &label)).await?;
        Ok(result.map_err(|error| key_value::Error::Other(error.to_string())))
    }
}

impl sqlite::Host for Guest {}

impl sqlite::HostConnection for Guest {
    async fn open(&mut self, name: String) -> Result<Result<Resource<Connection>, sqlite::Error>> {
        if !self.component.sqlite_databases.contains(&name) {
            return Ok(Err(sqlite::Error::AccessDenied));
        }
        let path = store::database_path(&self.state_dir, &name);
        match tokio::task::spawn_blocking(move || store::connect(&path)).await? {
            Ok(connection) => Ok(Ok(self.table.push(Connection(connection))?)),
            Err(error) => Ok(Err(sqlite::Error::Io(error.to_string()))),
        }
    }

    async fn execute(
        &mut self,
        connection: Resource<Connection>,
        sql: String,
        parameters: Vec<sqlite::Value>,
    ) -> Result<Result<sqlite::QueryResult, sqlite::Error>> {
        let connection = self.table.get(&connection)?.0.clone();
        let parameters = parameters.into_iter().map(from_guest).collect();
        let result =
            tokio::task::spawn_blocking(move || store::execute(&connection, &sql, parameters)).await?;
        Ok(match result {
            Ok((columns, rows)) => {
                let rows = rows
                    .into_iter()
                    .map(|values| sqlite::RowResult { values: values.into_iter().map(to_guest).collect() })
                    .collect();
                Ok(sqlite::QueryResult { columns, rows })
            }
            Err(error) => Err(sqlite::Error::Io(error.to_string())),
        })
    }

    async fn drop(&mut self, connection: Resource<Connection>) -> Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

fn from_guest(value: sqlite::Value) -> Value {
    match value {
        sqlite::Value::Blob(bytes) => Value::Blob(bytes),
        sqlite::Value::Integer(integer) => Value::Integer(integer),
        sqlite::Value::Null => Value::Null,
        sqlite::Value::Real(real) => Value::Real(real),
        sqlite::Value::Text(text) => Value::Text(text),
    }
}

fn to_guest(value: Value) -> sqlite::Value {
    match value {
        Value::Blob(bytes) => sqlite::Value::Blob(bytes),
        Value::Integer(integer) => sqlite::Value::Integer(integer),
        Value::Null => sqlite::Value::Null,
        Value::Real(real) => sqlite::Value::Real(real),
        Value::Text(text) => sqlite::Value::Text(text),
    }
}
