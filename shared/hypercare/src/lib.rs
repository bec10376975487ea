//! The watch over the calls a gateway carries: histograms, alert rules, notices and how they are sent.
//!
//! Everything here takes values and returns values. Whoever calls reads the rollups, keeps the states
//! and sends the requests:
//!
//! ```text
//! rollup rows → detect::series → detect::observe → alert::step → notice → notify::request
//! ```

pub mod alert;
pub mod attention;
pub mod change;
pub mod detect;
pub mod escalation;
pub mod group;
pub mod histogram;
pub mod hours;
pub mod inbound;
pub mod inhibit;
pub mod measure;
pub mod notice;
pub mod notify;
pub mod promql;
pub mod report;
pub mod rule;
pub mod silence;
pub mod stats;
pub mod time;

/// A value somebody entered that cannot be used, and the field it was entered in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {message}.")]
pub struct FieldError {
    /// The field's name, as the caller wrote it.
    pub field: &'static str,
    /// What is wrong with it, as the rest of a sentence that starts with the field's name.
    pub message: String,
}

impl FieldError {
    fn new(field: &'static str, message: impl Into<String>) -> FieldError {
        FieldError { field, message: message.into() }
    }
}
