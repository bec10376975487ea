//! SQL, one file a subject. Each query is written once and runs wherever SQLite's dialect is spoken.

pub mod alerts;
pub mod attention;
pub mod baselines;
pub mod blocks;
pub mod calls;
pub mod changes;
pub mod counting;
pub mod escalations;
pub mod faults;
pub mod health;
pub mod identity;
pub mod migrations;
pub mod notes;
pub mod objects;
pub mod outbox;
pub mod outlets;
pub mod prices;
pub mod receivers;
pub mod reports;
pub mod retention;
pub mod rollups;
pub mod rules;
pub mod schedule;
pub mod series;
pub mod silences;
pub mod watched;
