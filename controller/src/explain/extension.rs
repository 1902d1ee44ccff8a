//! An extension of Kong's operator: who names it, what it asks for, what became of it at each place.

use gaugeway_operator::dropin::{Measure, Place, Standing};

use super::answer::{Explanation, Step};

/// Why the Services of an extension are or are not measured. `known` are all extensions; `None` where they are not read.
pub(super) fn explain(namespace: &str, name: &str, known: Option<&[Standing]>) -> Explanation {
    let subject = format!("extension {namespace}/{name}");
    let Some(known) = known else {
        let step = Step::broken(
            "extension",
            "this controller does not read DataPlaneMetricsExtensions",
            "start it with --kong-metrics-extensions (the chart: kongMetricsExtensions=true)",
        );
        return Explanation::conclude(subject, vec![step], String::new());
    };
    let is_it = |s: &&Standing| s.id.namespace == namespace && s.id.name == name;
    let Some(standing) = known.iter().find(is_it) else {
        let step = Step::broken(
            "extension",
            format!("there is no DataPlaneMetricsExtension {namespace}/{name}"),
            "look at the spelling; it may be in a namespace that the controller does not watch",
        );
        return Explanation::conclude(subject, vec![step], String::new());
    };
    let mut steps = vec![control_plane(standing)];
    steps.extend(standing.places.iter().map(at));
    steps.push(kong_metric(standing));
    if !standing.ignored.is_empty() {
        let text = format!(
            "config.{} is not Gaugeway's: see docs: From DataPlaneMetricsExtension",
            standing.ignored.join(", config.")
        );
        steps.push(Step::note("config", text));
    }
    Explanation::conclude(subject, steps, "measured".to_owned())
}

fn control_plane(standing: &Standing) -> Step {
    let planes = standing.control_planes.join(", ");
    if planes.is_empty() {
        return Step::note("named by", "nobody");
    }
    Step::ok("named by", format!("ControlPlane {planes}"))
}

fn at(place: &Place) -> Step {
    let text = place.text.as_str();
    let advice = match place.measure {
        Measure::Measured | Measure::Partly => return Step::ok("measured", text),
        Measure::NoWorkers => {
            "load the filter into its data plane (gaugeway render kong shows how) and send a request through it"
        }
        Measure::NoWasm => {
            "pin its data plane to Kong 3.9, or Enterprise 3.10, with the module mounted and KONG_WASM=on; else leave the \
             measuring to Kong's operator"
        }
        Measure::NoServices => {
            "name Services of the ControlPlane's namespace in serviceSelector.matchNames that a route leads to"
        }
        Measure::Overridden => {
            "what has its Services decides what is measured of them; delete the extension, or leave it so"
        }
        Measure::NoTarget => "set the ControlPlane's ingressClass, or let a Gateway own it",
        Measure::Unattached => {
            "name it in spec.extensions of a ControlPlane or of a GatewayConfiguration"
        }
        Measure::Off => "set config.latency to true",
    };
    Step::broken("measured", text, advice)
}

fn kong_metric(standing: &Standing) -> Step {
    const NAME: &str = "kong_upstream_latency_ms";
    match &standing.scraped {
        None => Step::note("metric", format!("{NAME} has its Services where they are measured")),
        Some(why) => Step::note("metric", format!("{NAME} is off: {why}; two sources would add up")).with([
            "detach the extension, wait until Kong's operator has taken its KongPlugins away, switch its scraper off, \
             attach the extension again"
                .to_owned(),
        ]),
    }
}
