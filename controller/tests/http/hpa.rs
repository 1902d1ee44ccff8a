//! How an HPA decides, after `pkg/controller/podautoscaler` of Kubernetes: what it does with values, and with their absence.

/// Share by which a value may differ from its target before anything is done.
const TOLERANCE: f64 = 0.1;

/// What it reads of one metric.
pub(crate) enum Read {
    /// `Object`, with a target `Value`.
    Object { value: f64, target: f64 },
    /// `Pods`, with a target `AverageValue`: values by Pod.
    Pods {
        values: Vec<(String, f64)>,
        target: f64,
    },
    /// The API had none.
    Invalid,
}

/// The workload that it scales.
pub(crate) struct Scaled {
    pub(crate) replicas: u32,
    pub(crate) ready: Vec<String>,
    pub(crate) unready: Vec<String>,
}

/// The size that it sets, at least `min`; `None` where it leaves it and says `FailedGetObjectMetric` or the like.
pub(crate) fn decide(of: &Scaled, metrics: &[Read], min: u32) -> Option<u32> {
    let proposals: Vec<_> = metrics
        .iter()
        .filter_map(|read| propose(of, read))
        .collect();
    let most = proposals.iter().copied().max()?;
    let invalid = proposals.len() < metrics.len();
    // What is not known may be why a smaller size would not do.
    (!invalid || most >= of.replicas).then_some(most.max(min))
}

fn propose(of: &Scaled, read: &Read) -> Option<u32> {
    match read {
        Read::Object { value, target } => {
            let ratio = value / target;
            Some(if is_near(ratio) {
                of.replicas
            } else {
                whole(ratio * count(of.ready.len()))
            })
        }
        Read::Pods { values, target } => for_pods(of, values, *target),
        Read::Invalid => None,
    }
}

/// `calcPlainMetricReplicas`.
fn for_pods(of: &Scaled, values: &[(String, f64)], target: f64) -> Option<u32> {
    let value_of = |pod: &String| values.iter().find(|(name, _)| name == pod).map(|of| of.1);
    let mut known: Vec<f64> = of.ready.iter().filter_map(value_of).collect();
    let missing = of.ready.len() - known.len();
    if known.is_empty() {
        return None;
    }
    let ratio = mean(&known) / target;
    let up_with_unready = !of.unready.is_empty() && ratio > 1.0;
    if !up_with_unready && missing == 0 {
        return Some(if is_near(ratio) {
            of.replicas
        } else {
            whole(ratio * count(known.len()))
        });
    }
    let assumed = if ratio < 1.0 { target } else { 0.0 };
    known.extend(std::iter::repeat_n(assumed, missing));
    if up_with_unready {
        known.extend(std::iter::repeat_n(0.0, of.unready.len()));
    }
    let again = mean(&known) / target;
    if is_near(again) || (ratio < 1.0) != (again < 1.0) {
        return Some(of.replicas);
    }
    let size = whole(again * count(known.len()));
    let turns = (again < 1.0 && size > of.replicas) || (again > 1.0 && size < of.replicas);
    Some(if turns { of.replicas } else { size })
}

fn is_near(ratio: f64) -> bool {
    (1.0 - ratio).abs() <= TOLERANCE
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / count(values.len())
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap())
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small and not negative"
)]
fn whole(n: f64) -> u32 {
    // As Go's math.Ceil, without what binary fractions add.
    (n - 1e-9).ceil() as u32
}
