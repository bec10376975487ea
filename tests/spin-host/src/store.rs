//! Key-value stores and databases, in the files and tables Spin keeps them in: a state directory may go from
//! one host to the other.

use anyhow::{Context as _, Result};
use rusqlite::{Connection, OptionalExtension as _, types::Value};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A connection that a blocking thread can borrow.
pub(crate) type Shared = Arc<Mutex<Connection>>;

/// The answer to a statement: the columns' names, and the rows.
pub(crate) type Rows = (Vec<String>, Vec<Vec<Value>>);

/// Every key-value store of the application, in one file.
#[derive(Clone)]
pub(crate) struct KeyValue(Shared);

impl KeyValue {
    pub(crate) fn open(state_dir: &Path) -> Result<Self> {
        let path = state_dir.join("sqlite_key_value.db");
        let connection =
            Connection::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS spin_key_value (
                store TEXT NOT NULL,
                key   TEXT NOT NULL,
                value BLOB NOT NULL,
                PRIMARY KEY (store, key)
            )",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    pub(crate) fn get(&self, store: &str, key: &str) -> rusqlite::Result<Option<Vec<u8>>> {
        lock(&self.0)
            .prepare_cached("SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2")?
            .query_row([store, key], |row| row.get(0))
            .optional()
    }

    pub(crate) fn set(&self, store: &str, key: &str, value: &[u8]) -> rusqlite::Result<()> {
        lock(&self.0)
            .prepare_cached(
                "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (store, key) DO UPDATE SET value = excluded.value",
            )?
            .execute((store, key, value))?;
        Ok(())
    }

    pub(crate) fn delete(&self, store: &str, key: &str) -> rusqlite::Result<()> {
        lock(&self.0)
            .prepare_cached("DELETE FROM spin_key_value WHERE store = ?1 AND key = ?2")?
            .execute([store, key])?;
        Ok(())
    }

    pub(crate) fn keys(&self, store: &str) -> rusqlite::Result<Vec<String>> {
        lock(&self.0)
            .prepare_cached("SELECT key FROM spin_key_value WHERE store = ?1")?
            .query_map([store], |row| row.get(0))?
            .collect()
    }
}

/// The file of a database.
pub(crate) fn database_path(state_dir: &Path, name: &str) -> PathBuf {
    match name {
        "default" => state_dir.join("sqlite_db.db"),
        name => state_dir.join(format!("sqlite_db_{name}.db")),
    }
}

/// A new connection, as Spin opens one for each `open` of a guest: rollback journal, five seconds of
/// patience with a lock. Closing it rolls an open transaction back.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Shared> {
    Ok(Arc::new(Mutex::new(Connection::open(path)?)))
}

/// Runs one statement to its end.
pub(crate) fn execute(connection: &Shared, sql: &str, parameters: Vec<Value>) -> rusqlite::Result<Rows> {
    let connection = lock(connection);
    let mut statement = connection.prepare_cached(sql)?;
    let columns: Vec<String> = statement.column_names().into_iter().map(String::from).collect();
    let rows = statement
        .query_map(rusqlite::params_from_iter(parameters), |row| {
            (0..columns.len()).map(|column| row.get(column)).collect()
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok((columns, rows))
}

fn lock(connection: &Shared) -> MutexGuard<'_, Connection> {
    // A panic between two statements leaves a connection as sound as it was.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}
