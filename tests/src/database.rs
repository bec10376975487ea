//! The `Database` port over SQLite in memory, with every migration applied.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use gateway::{
    ports::{Database, PortError, Rows, Statement},
    store::migrations::{MIGRATIONS, statements},
};
use rusqlite::{Connection, StatementStatus, limits::Limit, types::ValueRef};
use serde_json::{Map, Value, json};

use crate::Life;

/// SQLite in memory, or in a file.
pub struct MemoryDatabase {
    /// Whoever uses it may die under it.
    pub life: Rc<Life>,
    connection: RefCell<Connection>,
    batches: Cell<usize>,
    statements: Cell<usize>,
    spent: Cell<Duration>,
    planned: RefCell<Vec<(usize, Event)>>,
    down: Cell<bool>,
    reals: Cell<bool>,
    seen: RefCell<Option<BTreeMap<String, Seen>>>,
}

/// A statement that was run.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// How often.
    pub runs: usize,
    /// What SQLite's machine did for it, in steps.
    pub steps: i64,
    /// How it goes through the tables.
    pub plan: Vec<String>,
}

/// What D1's SQLite takes.
const D1_LIMITS: [(Limit, i32); 8] = [
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_COLUMN, 100),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 5),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 32),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
    (Limit::SQLITE_LIMIT_VDBE_OP, 25_000),
];

/// How a batch fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It took effect, but nobody hears so.
    AfterCommit,
    /// It took no effect.
    BeforeBegin,
}

enum Event {
    Fail { fault: Fault, for_good: bool },
    Meanwhile(Box<dyn FnOnce()>),
}

impl Default for MemoryDatabase {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDatabase {
    /// A database with all tables and no rows.
    pub fn new() -> Self {
        let database = Self::empty();
        database.migrate();
        database
    }

    fn migrate(&self) {
        for (name, sql) in MIGRATIONS {
            for sql in statements(sql) {
                let applied = self.connection.borrow().execute_batch(sql);
                applied.unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
    }

    /// The database in this file, which is made if it is not there.
    pub fn file(path: &Path) -> Self {
        let is_new = !path.exists();
        let connection = Connection::open(path).unwrap();
        // Whoever dies closes it; the machine goes on.
        connection.pragma_update(None, "journal_mode", "memory").unwrap();
        connection.pragma_update(None, "synchronous", "off").unwrap();
        let database = Self::over(connection);
        if is_new {
            database.migrate();
        }
        database
    }

    /// A database without tables.
    pub fn empty() -> Self {
        Self::over(Connection::open_in_memory().unwrap())
    }

    fn over(connection: Connection) -> Self {
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        connection.set_prepared_statement_cache_capacity(100);
        for (limit, value) in D1_LIMITS {
            connection.set_limit(limit, value).unwrap();
        }
        Self {
            life: Rc::default(),
            connection: RefCell::new(connection),
            batches: Cell::new(0),
            statements: Cell::new(0),
            spent: Cell::default(),
            planned: RefCell::default(),
            down: Cell::new(false),
            reals: Cell::new(false),
            seen: RefCell::default(),
        }
    }

    /// Batches run so far.
    pub fn batches(&self) -> usize {
        self.batches.get()
    }

    /// Statements run so far, those of failed batches included.
    pub fn statements(&self) -> usize {
        self.statements.get()
    }

    /// How long all batches so far took.
    pub fn spent(&self) -> Duration {
        self.spent.get()
    }

    /// Looks at every statement from now on. Returns those seen since this was asked before, by their SQL.
    pub fn look(&self) -> BTreeMap<String, Seen> {
        // What was prepared before has steps of its own.
        self.connection.borrow().flush_prepared_statement_cache();
        self.seen.replace(Some(BTreeMap::new())).unwrap_or_default()
    }

    fn note(&self, connection: &Connection, sql: &str) {
        let mut all = self.seen.borrow_mut();
        let Some(all) = all.as_mut() else { return };
        let seen = all.entry(sql.to_owned()).or_default();
        let prepared = connection.prepare_cached(sql).unwrap();
        seen.runs += 1;
        seen.steps += i64::from(prepared.reset_status(StatementStatus::VmStep));
        if seen.plan.is_empty() {
            let mut explained = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let mut rows = explained.raw_query();
            while let Some(row) = rows.next().unwrap() {
                seen.plan.push(row.get(3).unwrap());
            }
        }
    }

    /// The next batch fails if `n` is 0, the one after it if `n` is 1, and so on.
    pub fn fail_batch(&self, n: usize, fault: Fault) {
        self.planned.borrow_mut().push((self.batches.get() + n, Event::Fail { fault, for_good: false }));
    }

    /// The `n`th batch from now fails, and all after it, until [`Self::revive`].
    pub fn die_at_batch(&self, n: usize, fault: Fault) {
        self.planned.borrow_mut().push((self.batches.get() + n, Event::Fail { fault, for_good: true }));
    }

    /// All is well again.
    pub fn revive(&self) {
        self.down.set(false);
    }

    /// Something else happens before the `n`th batch from now.
    pub fn before_batch(&self, n: usize, meanwhile: impl FnOnce() + 'static) {
        self.planned.borrow_mut().push((self.batches.get() + n, Event::Meanwhile(Box::new(meanwhile))));
    }

    /// What was to happen before batches to come does not.
    pub fn forget_planned(&self) {
        self.planned.borrow_mut().clear();
    }

    /// From now on numbers go in as floating point and whole ones come out as integers, as in JavaScript.
    pub fn speak_javascript(&self) {
        self.reals.set(true);
    }

    /// Runs one statement, for a test to arrange or look; it counts as no batch.
    pub fn sql(&self, sql: &str, params: &[Value]) -> Rows {
        run(&self.connection.borrow(), &Statement::new(sql, params), self.reals.get())
            .unwrap_or_else(|error| panic!("{error}: {sql}"))
    }

    /// Every row of a table, one line each, in the order of `order`.
    pub fn dump(&self, table: &str, order: &str) -> String {
        let rows = self.sql(&format!("SELECT * FROM {table} ORDER BY {order}"), &[]);
        rows.iter().map(|row| format!("{row}\n")).collect()
    }

    fn take_planned(&self, now: usize) -> Vec<Event> {
        let mut planned = self.planned.borrow_mut();
        let (due, later) = planned.drain(..).partition(|(at, _)| *at == now);
        *planned = later;
        due.into_iter().map(|(_, event)| event).collect()
    }
}

impl Database for MemoryDatabase {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, PortError> {
        let number = self.batches.get();
        self.batches.set(number + 1);
        self.statements.set(self.statements.get() + statements.len());
        let mut fault = self.down.get().then_some(Fault::BeforeBegin);
        for event in self.take_planned(number) {
            match event {
                Event::Fail { fault: planned, for_good } => {
                    fault = Some(planned);
                    self.down.set(for_good);
                }
                Event::Meanwhile(meanwhile) => meanwhile(),
            }
        }
        let unavailable = || PortError::new("database", "a planned failure");
        if fault == Some(Fault::BeforeBegin) {
            return Err(unavailable());
        }
        let began = Instant::now();
        let rows = {
            let mut connection = self.connection.borrow_mut();
            let transaction = connection.transaction().unwrap();
            let rows = statements
                .iter()
                .map(|statement| {
                    let rows = run(&transaction, statement, self.reals.get()).map_err(|error| {
                        PortError::new("database", format!("{error} in {}", statement.sql.trim()))
                    })?;
                    self.note(&transaction, &statement.sql);
                    Ok(rows)
                })
                .collect::<Result<Vec<_>, _>>()?;
            // What is not committed is undone when the connection is gone.
            if self.life.goes_on() {
                transaction.commit().unwrap();
            }
            rows
        };
        self.spent.set(self.spent.get() + began.elapsed());
        self.life.lived().await;
        self.life.goes_on();
        self.life.lived().await;
        if fault == Some(Fault::AfterCommit) { Err(unavailable()) } else { Ok(rows) }
    }

    fn statements(&self) -> usize {
        self.statements()
    }
}

fn run(connection: &Connection, statement: &Statement, reals: bool) -> Result<Rows, rusqlite::Error> {
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    assert!(statement.params.len() <= 100, "D1 takes a hundred parameters: {}", statement.sql);
    assert_eq!(prepared.parameter_count(), statement.params.len(), "parameters of {}", statement.sql);
    for (at, param) in statement.params.iter().enumerate() {
        let at = at + 1;
        match param {
            Value::Null => prepared.raw_bind_parameter(at, rusqlite::types::Null)?,
            Value::Number(number) if number.is_i64() && !reals => {
                prepared.raw_bind_parameter(at, number.as_i64())?
            }
            Value::Number(number) => prepared.raw_bind_parameter(at, number.as_f64())?,
            Value::String(text) => prepared.raw_bind_parameter(at, text)?,
            other => panic!("no host binds {other}: {}", statement.sql),
        }
    }
    let names: Vec<String> = prepared.column_names().into_iter().map(str::to_owned).collect();
    let mut rows = prepared.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut object = Map::new();
        for (at, name) in names.iter().enumerate() {
            let value = match row.get_ref(at)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(number) => json!(number),
                ValueRef::Real(number) if reals && number.fract() == 0.0 => json!(number as i64),
                ValueRef::Real(number) => json!(number),
                ValueRef::Text(text) => json!(std::str::from_utf8(text).unwrap()),
                ValueRef::Blob(_) => panic!("no host returns blobs: {}", statement.sql),
            };
            object.insert(name.clone(), value);
        }
        found.push(object.into());
    }
    Ok(found)
}
