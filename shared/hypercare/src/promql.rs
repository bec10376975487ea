//! The part of Prometheus's query language that dashboards are made of.
//!
//! Selectors with matchers, `[5m]` and `offset`; `rate` and `increase`; `sum`, `avg`, `min`, `max` and `count` with `by` or
//! `without`, `topk` and `bottomk`; `histogram_quantile`; `vector`; arithmetic and comparison of two, where the labels of both
//! sides are the same. Patterns know `|`, `.`, `.*`, `.+`, a group around all, and escapes. Whatever else is asked for is
//! refused by name, never answered with something near it.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};

/// What is wrong with a query, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(pub String);

/// What tells a series apart, its name aside.
pub type Labels = BTreeMap<String, String>;

/// Series with a value each.
pub type Vector = Vec<(Labels, f64)>;

/// A query that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What of the counted it needs, by number.
    pub selectors: Vec<Selector>,
    expr: Expr,
}

/// Which series.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// The metric's name.
    pub name: String,
    /// What labels must be.
    pub matchers: Vec<Matcher>,
    /// Over how long; none where it is asked for as it stands.
    pub range_ms: Option<i64>,
    /// How long ago.
    pub offset_ms: i64,
    /// The labels that matter to the result; none where all do.
    pub needed: Option<BTreeSet<String>>,
}

/// What a label must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    /// The label.
    pub label: String,
    /// Whether it must be the contrary.
    pub is_not: bool,
    /// The value, or its pattern.
    pub value: Pattern,
}

/// Values: one, or some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This one.
    Is(String),
    /// Those that look like one of these.
    Like(Vec<Vec<Piece>>),
}

/// A piece of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// This character.
    Char(char),
    /// Any one.
    One,
    /// Any number of any.
    Any,
}

impl Selector {
    /// Whether a series with these labels is meant. A label it lacks is empty.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| {
            let value = labels.get(&matcher.label).map_or("", String::as_str);
            let is = match &matcher.value {
                Pattern::Is(wanted) => wanted == value,
                Pattern::Like(alternatives) => {
                    let text: Vec<char> = value.chars().collect();
                    alternatives.iter().any(|pieces| looks_like(pieces, &text))
                }
            };
            is != matcher.is_not
        })
    }
}

/// Backs up to the last `.*` only, so that no pattern takes long.
fn looks_like(pieces: &[Piece], text: &[char]) -> bool {
    let (mut piece, mut at, mut back) = (0, 0, None);
    loop {
        match (pieces.get(piece), text.get(at)) {
            (Some(Piece::Any), _) => {
                back = Some((piece, at));
                piece += 1;
            }
            (None, None) => return true,
            (Some(Piece::One), Some(_)) => (piece, at) = (piece + 1, at + 1),
            (Some(Piece::Char(wanted)), Some(found)) if wanted == found => (piece, at) = (piece + 1, at + 1),
            (_, found) => match (back, found) {
                (Some((star, from)), _) if from < text.len() => {
                    back = Some((star, from + 1));
                    (piece, at) = (star + 1, from + 1);
                }
                _ => return false,
            },
        }
    }
}

/// Where values come from.
pub trait Source {
    /// By how much the series of a selector with a range grew up to a moment, a second.
    fn rate(&self, selector: usize, at_ms: i64) -> Vector;
    /// Where the series of a selector without a range stand.
    fn total(&self, selector: usize, at_ms: i64) -> Vector;
}

/// What a query comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// A number.
    Scalar(f64),
    /// Series.
    Vector(Vector),
}

impl Query {
    /// Reads a query.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.len() > MOST_BYTES {
            return Err(QueryError(format!("a query has at most {MOST_BYTES} bytes")));
        }
        let mut parser =
            Parser { tokens: tokens(text)?, at: 0, depth: 0, operators: 0, selectors: Vec::new() };
        let expr = parser.comparison()?;
        if let Some(token) = parser.peek() {
            return Err(QueryError(format!("`{}` is not expected where it is", token.text)));
        }
        let mut query = Self { selectors: parser.selectors, expr };
        if let Expr::Selector(number) = query.expr
            && query.selectors[number].range_ms.is_some()
        {
            return Err(QueryError("a range goes into `rate` or `increase`".to_owned()));
        }
        let Self { selectors, expr } = &mut query;
        need(expr, None, selectors);
        Ok(query)
    }

    /// Its value at a moment.
    pub fn eval(&self, source: &impl Source, at_ms: i64) -> Result<Answer, QueryError> {
        self.value(&self.expr, source, at_ms)
    }

    fn value(&self, expr: &Expr, source: &impl Source, at_ms: i64) -> Result<Answer, QueryError> {
        Ok(match expr {
            Expr::Number(number) => Answer::Scalar(*number),
            Expr::Selector(number) => {
                let mut total = source.total(*number, at_ms);
                for (labels, _) in &mut total {
                    labels.insert(NAME.to_owned(), self.selectors[*number].name.clone());
                }
                Answer::Vector(total)
            }
            Expr::Growth { selector, is_rate } => {
                let ms = self.selectors[*selector].range_ms.unwrap_or_default();
                let scale = if *is_rate { 1.0 } else { ms as f64 / 1000.0 };
                let mut grown = source.rate(*selector, at_ms);
                grown.iter_mut().for_each(|(_, value)| *value *= scale);
                Answer::Vector(grown)
            }
            Expr::Quantile { q, of } => {
                let Answer::Scalar(q) = self.value(q, source, at_ms)? else {
                    return Err(QueryError("the quantile must be a number".to_owned()));
                };
                Answer::Vector(quantiles(q, self.vector(of, source, at_ms)?))
            }
            Expr::Vector(of) => match self.value(of, source, at_ms)? {
                Answer::Scalar(number) => Answer::Vector(vec![(Labels::new(), number)]),
                Answer::Vector(_) => return Err(QueryError("`vector` takes a number".to_owned())),
            },
            Expr::Aggregate { op, grouping, k, of } => {
                let k = match k {
                    None => 0.0,
                    Some(k) => match self.value(k, source, at_ms)? {
                        Answer::Scalar(k) => k,
                        Answer::Vector(_) => return Err(QueryError(format!("`{op}` takes a number first"))),
                    },
                };
                Answer::Vector(aggregate(op, grouping, k, self.vector(of, source, at_ms)?))
            }
            Expr::Binary { op, left, right } => {
                combine(op, self.value(left, source, at_ms)?, self.value(right, source, at_ms)?)?
            }
        })
    }

    fn vector(&self, expr: &Expr, source: &impl Source, at_ms: i64) -> Result<Vector, QueryError> {
        match self.value(expr, source, at_ms)? {
            Answer::Vector(vector) => Ok(vector),
            Answer::Scalar(_) => Err(QueryError("series are expected where a number is".to_owned())),
        }
    }
}

/// Which labels matter: a sum over some is the same whether the others were told apart before.
fn need(expr: &Expr, wanted: Option<&BTreeSet<String>>, selectors: &mut [Selector]) {
    match expr {
        Expr::Number(_) => {}
        Expr::Selector(selector) | Expr::Growth { selector, .. } => {
            selectors[*selector].needed = wanted.cloned();
        }
        Expr::Quantile { q, of } => {
            need(q, None, selectors);
            need(of, None, selectors);
        }
        Expr::Vector(of) => need(of, None, selectors),
        Expr::Aggregate { op, grouping, k, of } => {
            if let Some(k) = k {
                need(k, None, selectors);
            }
            let by = match grouping {
                Grouping::By(labels) if *op == "sum" => Some(labels),
                _ => None,
            };
            need(of, by, selectors);
        }
        Expr::Binary { left, right, .. } => {
            need(left, None, selectors);
            need(right, None, selectors);
        }
    }
}

fn aggregate(op: &str, grouping: &Grouping, k: f64, of: Vector) -> Vector {
    let mut groups: BTreeMap<Labels, Vector> = BTreeMap::new();
    for (labels, value) in of {
        let mut group = labels.clone();
        group.retain(|label, _| match grouping {
            Grouping::By(by) => by.contains(label),
            Grouping::Without(without) => label != NAME && !without.contains(label),
        });
        groups.entry(group).or_default().push((labels, value));
    }
    if op == "topk" || op == "bottomk" {
        let ranked = groups.into_values().flat_map(|mut members| {
            // What is no number comes last either way.
            let key = |value: f64| if value.is_nan() { f64::NEG_INFINITY } else { value };
            members.sort_by(|(_, a), (_, b)| match op {
                "topk" => key(*b).total_cmp(&key(*a)),
                _ => key(-*b).total_cmp(&key(-*a)),
            });
            members.truncate(k.max(0.0) as usize);
            members
        });
        return ranked.collect();
    }
    let one = |members: Vector| {
        let values = members.iter().map(|(_, value)| *value);
        let count = members.len() as f64;
        match op {
            "sum" => values.sum(),
            "avg" => values.sum::<f64>() / count,
            "min" => values.fold(f64::NAN, f64::min),
            "max" => values.fold(f64::NAN, f64::max),
            _ => count,
        }
    };
    groups.into_iter().map(|(labels, members)| (labels, one(members))).collect()
}

fn combine(op: &str, left: Answer, right: Answer) -> Result<Answer, QueryError> {
    let is_comparison = matches!(op, "==" | "!=" | "<" | "<=" | ">" | ">=");
    let nameless = |mut labels: Labels| {
        labels.remove(NAME);
        labels
    };
    // What is made of a metric is no such metric any more; what remains of it is.
    let label = |labels: Labels| if is_comparison { labels } else { nameless(labels) };
    // A comparison leaves the left side's value where it holds; nothing where it does not.
    let one = |a: f64, b: f64| {
        let holds = |holds: bool| holds.then_some(a);
        match op {
            "+" => Some(a + b),
            "-" => Some(a - b),
            "*" => Some(a * b),
            "/" => Some(a / b),
            "%" => Some(a % b),
            "==" => holds(a == b),
            "!=" => holds(a != b),
            "<" => holds(a < b),
            "<=" => holds(a <= b),
            ">" => holds(a > b),
            _ => holds(a >= b),
        }
    };
    Ok(match (left, right) {
        (Answer::Scalar(_), Answer::Scalar(_)) if is_comparison => {
            return Err(QueryError("two numbers are not compared".to_owned()));
        }
        (Answer::Scalar(a), Answer::Scalar(b)) => Answer::Scalar(one(a, b).unwrap_or(f64::NAN)),
        (Answer::Vector(vector), Answer::Scalar(b)) => Answer::Vector(
            vector.into_iter().filter_map(|(labels, a)| Some((label(labels), one(a, b)?))).collect(),
        ),
        (Answer::Scalar(a), Answer::Vector(vector)) => {
            // What remains is the series' value, also where it stands on the right.
            let value = |b: f64| one(a, b).map(|result| if is_comparison { b } else { result });
            Answer::Vector(
                vector.into_iter().filter_map(|(labels, b)| Some((label(labels), value(b)?))).collect(),
            )
        }
        (Answer::Vector(left), Answer::Vector(right)) => {
            let by_labels: BTreeMap<Labels, f64> =
                right.into_iter().map(|(labels, b)| (nameless(labels), b)).collect();
            let pair = |(labels, a): (Labels, f64)| {
                let result = one(a, *by_labels.get(&nameless(labels.clone()))?)?;
                Some((label(labels), result))
            };
            Answer::Vector(left.into_iter().filter_map(pair).collect())
        }
    })
}

/// Prometheus's own interpolation: straight within a bucket.
fn quantiles(q: f64, buckets: Vector) -> Vector {
    let mut groups: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for (mut labels, count) in buckets {
        labels.remove(NAME);
        let bound = match labels.remove("le").as_deref() {
            Some("+Inf") => Some(f64::INFINITY),
            Some(text) => text.parse().ok(),
            None => None,
        };
        if let Some(bound) = bound {
            groups.entry(labels).or_default().push((bound, count));
        }
    }
    let quantile = |mut buckets: Vec<(f64, f64)>| {
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let (Some((f64::INFINITY, total)), true) = (buckets.last().copied(), buckets.len() > 1) else {
            return f64::NAN;
        };
        if total <= 0.0 || q.is_nan() {
            return f64::NAN;
        }
        if q < 0.0 {
            return f64::NEG_INFINITY;
        }
        if q > 1.0 {
            return f64::INFINITY;
        }
        let rank = q * total;
        let at = buckets.partition_point(|(_, count)| *count < rank);
        if at >= buckets.len() - 1 {
            return buckets[buckets.len() - 2].0;
        }
        let (upper, count) = buckets[at];
        let (lower, below) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
        lower + (upper - lower) * (rank - below) / (count - below)
    };
    groups.into_iter().map(|(labels, buckets)| (labels, quantile(buckets))).collect()
}

#[derive(Debug, Clone, PartialEq)]
enum Expr {
    Number(f64),
    Selector(usize),
    Growth { selector: usize, is_rate: bool },
    Quantile { q: Box<Expr>, of: Box<Expr> },
    Vector(Box<Expr>),
    Aggregate { op: &'static str, grouping: Grouping, k: Option<Box<Expr>>, of: Box<Expr> },
    Binary { op: &'static str, left: Box<Expr>, right: Box<Expr> },
}

#[derive(Debug, Clone, PartialEq)]
enum Grouping {
    By(BTreeSet<String>),
    Without(BTreeSet<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Duration,
    Number,
    Sign,
    Text,
    Word,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    kind: Kind,
    text: String,
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    operators: usize,
    selectors: Vec<Selector>,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Result<Token, QueryError> {
        let token = self.peek().cloned().ok_or_else(|| QueryError("the query ends too early".to_owned()))?;
        self.at += 1;
        Ok(token)
    }

    fn takes(&mut self, text: &str) -> bool {
        let is = self.peek().is_some_and(|token| token.text == text && token.kind != Kind::Text);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, text: &str) -> Result<(), QueryError> {
        if self.takes(text) {
            return Ok(());
        }
        let found = self.peek().map_or("the end", |token| &token.text);
        Err(QueryError(format!("`{text}` is expected where `{found}` is")))
    }

    fn comparison(&mut self) -> Result<Expr, QueryError> {
        self.left_to_right(&["==", "!=", "<=", "<", ">=", ">"], Self::sum)
    }

    fn sum(&mut self) -> Result<Expr, QueryError> {
        self.left_to_right(&["+", "-"], Self::product)
    }

    fn product(&mut self) -> Result<Expr, QueryError> {
        self.left_to_right(&["*", "/", "%"], Self::signed)
    }

    fn left_to_right(
        &mut self,
        ops: &[&'static str],
        part: fn(&mut Self) -> Result<Expr, QueryError>,
    ) -> Result<Expr, QueryError> {
        let mut left = part(self)?;
        while let Some(op) = ops.iter().find(|op| self.takes(op)) {
            for word in ["bool", "on", "ignoring", "group_left", "group_right"] {
                if self.takes(word) {
                    return Err(unknown(word));
                }
            }
            self.operators += 1;
            if self.operators > MOST_OPERATORS {
                return Err(QueryError(format!("a query has at most {MOST_OPERATORS} operators")));
            }
            left = Expr::Binary { op, left: Box::new(left), right: Box::new(part(self)?) };
        }
        Ok(left)
    }

    fn signed(&mut self) -> Result<Expr, QueryError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(QueryError("the query is nested too deeply".to_owned()));
        }
        let expr = if self.takes("-") {
            let of = Box::new(self.signed()?);
            Expr::Binary { op: "*", left: Box::new(Expr::Number(-1.0)), right: of }
        } else if self.takes("+") {
            self.signed()?
        } else {
            self.primary()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn primary(&mut self) -> Result<Expr, QueryError> {
        if self.takes("(") {
            let inner = self.comparison()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.peek().is_some_and(|token| token.text == "{" && token.kind == Kind::Sign) {
            return self.selector(String::new());
        }
        let token = self.next()?;
        match token.kind {
            Kind::Number => number(&token.text),
            Kind::Word => {
                if let Some(op) = AGGREGATIONS.iter().find(|op| **op == token.text) {
                    return self.aggregation(op);
                }
                if self.peek().is_some_and(|next| next.text == "(" && next.kind == Kind::Sign) {
                    return self.function(&token.text);
                }
                match token.text.to_ascii_lowercase().as_str() {
                    "inf" | "nan" => number(&token.text),
                    _ => self.selector(token.text),
                }
            }
            _ => Err(QueryError(format!("`{}` is not expected where it is", token.text))),
        }
    }

    fn function(&mut self, name: &str) -> Result<Expr, QueryError> {
        self.expect("(")?;
        let expr = match name {
            "rate" | "increase" => {
                let inner = self.comparison()?;
                let range = |number: usize| self.selectors[number].range_ms;
                match inner {
                    Expr::Selector(selector) if range(selector).is_some() => {
                        Expr::Growth { selector, is_rate: name == "rate" }
                    }
                    _ => {
                        return Err(QueryError(format!(
                            "`{name}` takes a selector with a range, like `x[5m]`"
                        )));
                    }
                }
            }
            "histogram_quantile" => {
                let q = Box::new(self.comparison()?);
                self.expect(",")?;
                Expr::Quantile { q, of: Box::new(self.instant()?) }
            }
            "vector" => Expr::Vector(Box::new(self.instant()?)),
            _ => return Err(unknown(name)),
        };
        self.expect(")")?;
        Ok(expr)
    }

    /// What has a value at a moment.
    fn instant(&mut self) -> Result<Expr, QueryError> {
        let expr = self.comparison()?;
        match expr {
            Expr::Selector(number) if self.selectors[number].range_ms.is_some() => {
                Err(QueryError("a range goes into `rate` or `increase`".to_owned()))
            }
            expr => Ok(expr),
        }
    }

    fn aggregation(&mut self, op: &'static str) -> Result<Expr, QueryError> {
        let mut grouping = self.grouping()?;
        self.expect("(")?;
        let k = match op {
            "topk" | "bottomk" => {
                let k = self.comparison()?;
                self.expect(",")?;
                Some(Box::new(k))
            }
            _ => None,
        };
        let of = Box::new(self.instant()?);
        self.expect(")")?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let grouping = grouping.unwrap_or(Grouping::By(BTreeSet::new()));
        Ok(Expr::Aggregate { op, grouping, k, of })
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, QueryError> {
        let make: fn(BTreeSet<String>) -> Grouping = if self.takes("by") {
            Grouping::By
        } else if self.takes("without") {
            Grouping::Without
        } else {
            return Ok(None);
        };
        self.expect("(")?;
        let mut labels = BTreeSet::new();
        while !self.takes(")") {
            labels.insert(self.next()?.text);
            if !self.takes(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(Some(make(labels)))
    }

    fn selector(&mut self, name: String) -> Result<Expr, QueryError> {
        let mut selector = Selector { name, ..Selector::default() };
        if self.takes("{") {
            while !self.takes("}") {
                let label = self.next()?.text;
                let op = self.next()?.text;
                let value = self.next()?;
                if value.kind != Kind::Text {
                    return Err(QueryError(format!("`{}` must be in quotes", value.text)));
                }
                let (is_not, is_pattern) = match op.as_str() {
                    "=" => (false, false),
                    "!=" => (true, false),
                    "=~" => (false, true),
                    "!~" => (true, true),
                    _ => return Err(QueryError(format!("`{op}` does not compare a label"))),
                };
                let pattern = if is_pattern { pattern(&value.text)? } else { Pattern::Is(value.text) };
                match &pattern {
                    Pattern::Is(name) if label == "__name__" && !is_not => selector.name.clone_from(name),
                    _ if label == "__name__" => return Err(QueryError("a metric is named whole".to_owned())),
                    _ => selector.matchers.push(Matcher { label, is_not, value: pattern }),
                }
                if !self.takes(",") {
                    self.expect("}")?;
                    break;
                }
            }
        }
        if selector.name.is_empty() {
            return Err(QueryError("a selector names a metric".to_owned()));
        }
        if self.takes("[") {
            selector.range_ms = Some(self.duration()?);
            if self.takes(":") {
                return Err(unknown("a subquery"));
            }
            self.expect("]")?;
        }
        if self.takes("offset") {
            let sign = if self.takes("-") { -1 } else { 1 };
            selector.offset_ms = sign * self.duration()?;
        }
        if self.takes("@") {
            return Err(unknown("@"));
        }
        self.selectors.push(selector);
        Ok(Expr::Selector(self.selectors.len() - 1))
    }

    fn duration(&mut self) -> Result<i64, QueryError> {
        let token = self.next()?;
        duration_ms(&token.text)
            .filter(|ms| token.kind == Kind::Duration && (1..=LONGEST_MS).contains(ms))
            .ok_or_else(|| QueryError(format!("`{}` is no duration like `5m`, `1h30m` or `7d`", token.text)))
    }
}

/// `1h30m` in milliseconds.
pub fn duration_ms(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut sum: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, ms) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters])?;
        sum = sum.checked_add(number.checked_mul(*ms)?)?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(sum)
}

fn number(text: &str) -> Result<Expr, QueryError> {
    text.parse().map(Expr::Number).map_err(|_| QueryError(format!("`{text}` is no number")))
}

fn unknown(what: &str) -> QueryError {
    QueryError(format!("`{what}` is not known here"))
}

fn pattern(text: &str) -> Result<Pattern, QueryError> {
    let refused =
        |c: char| QueryError(format!("patterns know |, ., .*, .+, (…) around all and escapes, not `{c}`"));
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text);
    let mut alternatives = vec![Vec::new()];
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '|' {
            alternatives.push(Vec::new());
            continue;
        }
        let pieces = match c {
            '.' if chars.next_if_eq(&'*').is_some() => vec![Piece::Any],
            '.' if chars.next_if_eq(&'+').is_some() => vec![Piece::One, Piece::Any],
            '.' => vec![Piece::One],
            '\\' => match chars.next() {
                Some(c) if !c.is_ascii_alphanumeric() => vec![Piece::Char(c)],
                _ => return Err(refused('\\')),
            },
            '(' | ')' | '[' | ']' | '{' | '}' | '*' | '+' | '?' | '^' | '$' => return Err(refused(c)),
            c => vec![Piece::Char(c)],
        };
        if let Some(last) = alternatives.last_mut() {
            last.extend(pieces);
        }
    }
    Ok(Pattern::Like(alternatives))
}

fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        let run = |from: usize, belongs: fn(char) -> bool| {
            from + chars[from..].iter().take_while(|c| belongs(**c)).count()
        };
        let begin = at;
        let kind = match c {
            _ if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '#' => {
                at = run(at, |c| c != '\n');
                continue;
            }
            '"' | '\'' | '`' => {
                let (value, end) = quoted(&chars, at)?;
                tokens.push(Token { kind: Kind::Text, text: value });
                at = end;
                continue;
            }
            _ if c.is_ascii_digit() || (c == '.' && chars.get(at + 1).is_some_and(char::is_ascii_digit)) => {
                at = run(at, |c| c.is_ascii_alphanumeric() || c == '.');
                // An exponent's sign.
                if matches!(chars[at - 1], 'e' | 'E') && matches!(chars.get(at), Some('+' | '-')) {
                    at = run(at + 1, |c| c.is_ascii_digit());
                }
                let word: String = chars[begin..at].iter().collect();
                if word.parse::<f64>().is_ok() { Kind::Number } else { Kind::Duration }
            }
            _ if c.is_ascii_alphabetic() || c == '_' => {
                at = run(at, |c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
                Kind::Word
            }
            _ => {
                let two: String = chars[at..(at + 2).min(chars.len())].iter().collect();
                at += if ["==", "!=", "<=", ">=", "=~", "!~"].contains(&two.as_str()) { 2 } else { 1 };
                Kind::Sign
            }
        };
        tokens.push(Token { kind, text: chars[begin..at].iter().collect() });
    }
    Ok(tokens)
}

fn quoted(chars: &[char], begin: usize) -> Result<(String, usize), QueryError> {
    let mark = chars[begin];
    let mut value = String::new();
    let mut at = begin + 1;
    loop {
        match chars.get(at).copied() {
            None => return Err(QueryError("a text is not closed".to_owned())),
            Some(c) if c == mark => return Ok((value, at + 1)),
            Some('\\') if mark != '`' => {
                at += 1;
                value.push(match chars.get(at).copied() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some(c @ ('\\' | '"' | '\'')) => c,
                    _ => return Err(QueryError("a text has an escape that is not known here".to_owned())),
                });
            }
            Some(c) => value.push(c),
        }
        at += 1;
    }
}

const NAME: &str = "__name__";
const AGGREGATIONS: [&str; 7] = ["sum", "avg", "min", "max", "count", "topk", "bottomk"];
const UNITS: [(&str, i64); 7] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", MINUTE_MS),
    ("h", HOUR_MS),
    ("d", DAY_MS),
    ("w", 7 * DAY_MS),
    ("y", 365 * DAY_MS),
];
const MOST_BYTES: usize = 10_000;
const DEEPEST: usize = 50;
const MOST_OPERATORS: usize = 100;
const LONGEST_MS: i64 = 400 * DAY_MS;

#[cfg(test)]
mod tests {
    use super::*;

    /// Series that grow evenly; a rate is their value.
    struct Even(Vec<Rate>, Vec<Selector>);

    /// A metric, its labels, and a rate.
    type Rate = (&'static str, &'static [(&'static str, &'static str)], f64);

    impl Source for Even {
        fn rate(&self, selector: usize, _: i64) -> Vector {
            let selector = &self.1[selector];
            let labels = |pairs: &[(&str, &str)]| -> Labels {
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
            };
            let found = self.0.iter().filter(|(name, ..)| *name == selector.name);
            let all = found.map(|(_, pairs, value)| (labels(pairs), *value));
            all.filter(|(labels, _)| selector.matches(labels)).collect()
        }

        fn total(&self, selector: usize, at_ms: i64) -> Vector {
            let second = at_ms as f64 / 1000.0;
            self.rate(selector, at_ms).into_iter().map(|(labels, rate)| (labels, rate * second)).collect()
        }
    }

    fn ask(text: &str) -> String {
        let query = match Query::parse(text) {
            Ok(query) => query,
            Err(error) => return error.to_string(),
        };
        let source = Even(
            vec![
                ("calls", &[("model", "a"), ("outcome", "ok")], 8.0),
                ("calls", &[("model", "a"), ("outcome", "error")], 2.0),
                ("calls", &[("model", "b.c"), ("outcome", "ok")], 5.0),
                ("t_bucket", &[("model", "a"), ("le", "1")], 10.0),
                ("t_bucket", &[("model", "a"), ("le", "2")], 30.0),
                ("t_bucket", &[("model", "a"), ("le", "+Inf")], 40.0),
            ],
            query.selectors.clone(),
        );
        match query.eval(&source, 10_000) {
            Ok(Answer::Scalar(number)) => number.to_string(),
            Ok(Answer::Vector(vector)) => {
                let shown = vector.iter().map(|(labels, value)| {
                    let labels: Vec<&str> = labels.values().map(String::as_str).collect();
                    format!("{}={value}", labels.join(","))
                });
                shown.collect::<Vec<_>>().join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn queries_come_to_what_they_would_in_prometheus() {
        for (query, expected) in [
            ("1+1", "2"),
            ("2 + 3 * 4 - 10 / 4", "11.5"),
            ("-(1 - 2) * 1e2", "100"),
            ("vector(3) # a word", "=3"),
            ("calls", "calls,a,ok=80 calls,a,error=20 calls,b.c,ok=50"),
            (r#"calls{model="a",outcome!="ok"}"#, "calls,a,error=20"),
            (r#"{__name__="calls", model='b.c',}"#, "calls,b.c,ok=50"),
            (r#"calls{model=~"a|x"}"#, "calls,a,ok=80 calls,a,error=20"),
            (r#"calls{model=~"(b\\.c|x)"}"#, "calls,b.c,ok=50"),
            (r#"calls{model=~"b.+",outcome=~".*"}"#, "calls,b.c,ok=50"),
            (r#"calls{model!~"b.*"}"#, "calls,a,ok=80 calls,a,error=20"),
            (r#"calls{tag=""}"#, "calls,a,ok=80 calls,a,error=20 calls,b.c,ok=50"),
            ("rate(calls[5m])", "a,ok=8 a,error=2 b.c,ok=5"),
            ("sum(increase(calls[1m30s]))", "=1350"),
            ("sum by (model) (rate(calls[5m]))", "a=10 b.c=5"),
            ("sum(rate(calls[5m])) by (model)", "a=10 b.c=5"),
            ("sum without (outcome) (rate(calls[5m]))", "a=10 b.c=5"),
            ("avg by (outcome) (rate(calls[5m]))", "error=2 ok=6.5"),
            ("min(rate(calls[5m]))", "=2"),
            ("max(rate(calls[5m]))", "=8"),
            ("count by (model) (rate(calls[5m]))", "a=2 b.c=1"),
            ("topk(1, rate(calls[5m]))", "a,ok=8"),
            ("bottomk by (outcome) (1, rate(calls[5m]))", "a,error=2 b.c,ok=5"),
            (
                r#"sum by (model) (rate(calls{outcome="error"}[5m])) / sum by (model) (rate(calls[5m]))"#,
                "a=0.2",
            ),
            ("100 * sum(rate(calls[5m])) - 500", "=1000"),
            ("calls > 40", "calls,a,ok=80 calls,b.c,ok=50"),
            ("calls / 10", "a,ok=8 a,error=2 b.c,ok=5"),
            ("calls / calls", "a,ok=1 a,error=1 b.c,ok=1"),
            ("rate(calls[5m]) > 4", "a,ok=8 b.c,ok=5"),
            ("4 < rate(calls[5m])", "a,ok=8 b.c,ok=5"),
            ("histogram_quantile(0.5, sum by (le) (rate(t_bucket[5m])))", "=1.5"),
            ("histogram_quantile(0.1, rate(t_bucket[5m]))", "a=0.4"),
            ("histogram_quantile(0.99, rate(t_bucket[5m]))", "a=2"),
            ("histogram_quantile(0.5, rate(calls[5m]))", ""),
            ("sum(rate(nothing[5m]))", ""),
        ] {
            assert_eq!(ask(query), expected, "{query}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (query, says) in [
            ("", "ends too early"),
            ("calls[5m]", "a range goes into"),
            ("sum(calls[5m])", "a range goes into"),
            ("rate(calls)", "takes a selector with a range"),
            ("rate(sum(calls)[5m])", "takes a selector with a range"),
            ("irate(calls[5m])", "`irate` is not known here"),
            ("calls / on (model) calls", "`on` is not known here"),
            ("calls or calls", "`or` is not expected"),
            ("calls[5m:1m]", "subquery"),
            ("calls @ 5", "`@` is not known here"),
            ("calls{model=a}", "in quotes"),
            (r#"calls{model=~"[ab]"}"#, "not `[`"),
            (r#"{model="a"}"#, "names a metric"),
            (r#"{__name__=~"c.*"}"#, "named whole"),
            ("calls[5 m]", "no duration"),
            ("rate(calls[0m])", "no duration"),
            ("1 > 2", "not compared"),
            ("sum(1)", "series are expected"),
            (r#"calls{model="a"#, "not closed"),
            ("calls)", "`)` is not expected"),
        ] {
            let answer = ask(query);
            assert!(answer.contains(says), "{query}: {answer}");
        }
        assert!(ask(&"(".repeat(9_000)).contains("nested too deeply"));
        assert!(ask(&"1+".repeat(4_000)).contains("at most 100 operators"));
        assert!(ask(&"1+".repeat(9_000)).contains("bytes"));
    }

    #[test]
    fn only_the_labels_that_matter_are_asked_for() {
        let needed = |text: &str| Query::parse(text).expect(text).selectors[0].needed.clone();
        let set = |labels: &[&str]| Some(labels.iter().map(|label| (*label).to_owned()).collect());
        assert_eq!(needed("sum by (model) (rate(calls[5m]))"), set(&["model"]));
        assert_eq!(needed("histogram_quantile(0.9, sum by (le) (rate(t_bucket[5m])))"), set(&["le"]));
        assert_eq!(needed("sum(calls)"), set(&[]));
        for text in
            ["rate(calls[5m])", "avg by (model) (rate(calls[5m]))", "sum(rate(calls[5m]) / rate(calls[5m]))"]
        {
            assert_eq!(needed(text), None, "{text}");
        }
    }

    #[test]
    fn a_pattern_matches_the_whole_value() {
        for (text, value, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a.*b", "a/b/b", true),
            ("a.*b", "a/b/c", false),
            (".+", "", false),
            (".*", "", true),
            ("a.c", "abc", true),
            (".*x.*y", "xxxyy", true),
            ("x|", "", true),
        ] {
            let Pattern::Like(alternatives) = pattern(text).expect(text) else { panic!("{text}") };
            let value: Vec<char> = value.chars().collect();
            assert_eq!(alternatives.iter().any(|pieces| looks_like(pieces, &value)), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_prometheus_writes_them() {
        for (text, expected) in [
            ("5m", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("1w", Some(604_800_000)),
            ("5", None),
            ("m", None),
            ("", None),
        ] {
            assert_eq!(duration_ms(text), expected, "{text}");
        }
    }
}
