//! The statistics against what others compute; `statistics_oracle.py` says how.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and so do its helpers")]

use hypercare::stats::{
    drift::psi,
    exhaustion::exhaustion,
    knee::knee,
    normal::{student_95, two_sided},
    robust::{Floor, usual, usual_at},
    share::{compare, discoveries, interval},
    shift::Cusum,
    surge::limit,
    trend::trend,
};
use serde_json::{Value, json};

#[test]
fn statistics_equal_those_of_scipy_and_statsmodels() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("statistics.json")).unwrap();
    let mut functions = std::collections::BTreeMap::<&str, usize>::new();
    for vector in &vectors {
        let function = vector["function"].as_str().unwrap();
        *functions.entry(function).or_default() += 1;
        let found = computed(function, &vector["given"]);
        // Student's values are an expansion.
        let tolerance = if function == "student_95" || function == "exhaustion" { 5e-3 } else { 1e-9 };
        assert!(near(&found, &vector["expected"], tolerance), "{vector} but {found}");
    }
    let tested: Vec<_> = functions.into_iter().collect();
    let expected = [
        ("compare", 4),
        ("cusum", 3),
        ("discoveries", 4),
        ("exhaustion", 3),
        ("interval", 6),
        ("knee", 3),
        ("psi", 4),
        ("slope", 1),
        ("student_95", 6),
        ("surge", 10),
        ("trend", 5),
        ("two_sided", 14),
        ("usual", 5),
        ("usual_at", 4),
    ];
    assert_eq!(tested, expected);
}

fn computed(function: &str, given: &Value) -> Value {
    let whole = |at: usize| given[at].as_i64().unwrap();
    let number = |at: usize| given[at].as_f64().unwrap();
    let points = || numbers(&given[0]).into_iter().zip(numbers(&given[1])).collect::<Vec<_>>();
    match function {
        "compare" => {
            let found = compare((whole(0), whole(1)), (whole(2), whole(3))).unwrap();
            json!([found.difference, found.z, found.p])
        }
        "cusum" => {
            let sums = Cusum::over(numbers(&given[0]), number(1), number(2));
            json!([sums.high, sums.low])
        }
        "discoveries" => json!(discoveries(&numbers(given), 0.05)),
        "exhaustion" => {
            let found = exhaustion(&points(), number(2)).unwrap();
            json!([found.slope, found.expected, found.earliest, found.latest])
        }
        "interval" => json!(interval(whole(0), whole(1)).unwrap()),
        "knee" => {
            let found = knee(&points()).unwrap();
            json!([found.load, found.before, found.after, found.gain])
        }
        "psi" => json!(psi(&numbers(&given[0]), &numbers(&given[1])).unwrap()),
        "slope" => {
            let found = trend(&points()).unwrap();
            json!([found.slope, found.intercept])
        }
        "student_95" => json!(student_95(given.as_u64().unwrap() as usize).unwrap()),
        "surge" => json!(limit(whole(0), &numbers(&given[1]), whole(2)).unwrap()),
        "trend" => {
            let points: Vec<_> = (0..).map(f64::from).zip(numbers(given)).collect();
            let found = trend(&points).unwrap();
            json!([found.s, found.z, found.p, found.slope, found.intercept])
        }
        "two_sided" => json!(two_sided(given.as_f64().unwrap())),
        "usual" => {
            let floor = Floor { absolute: number(1), relative: number(2) };
            let found = usual(&mut numbers(&given[0]), floor).unwrap();
            json!([found.median, found.spread, found.score(number(3))])
        }
        "usual_at" => {
            let hours: Vec<_> = numbers(given).into_iter().map(Some).collect();
            let (_, found) = usual_at(&hours, Floor { absolute: 0.0, relative: 0.0 }).unwrap();
            json!([found.median, found.spread, found.count])
        }
        _ => panic!("{function} is not known"),
    }
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn near(found: &Value, expected: &Value, tolerance: f64) -> bool {
    match (found, expected) {
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len()
                && found.iter().zip(expected).all(|(found, expected)| near(found, expected, tolerance))
        }
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            (found - expected).abs() <= tolerance * expected.abs().max(LEAST)
        }
        _ => found == expected,
    }
}

/// Smaller differences are those of sums that cancel, larger than the smallest probability compared.
const LEAST: f64 = 1e-200;
