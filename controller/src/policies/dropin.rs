//! The extensions of Kong's operator: read as policies, and what became of them said in the log, by a metric, and to who
//! asks for an explanation. Their own status has no room for it, and events would have to be written again every hour to
//! stay true, with a right to write that nothing else here needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gaugeway_operator::{
    PolicyId, Scene,
    deploy::Proof,
    dropin::{Extensions, KongFacts, Measure, Standing, extensions, selected, standing},
};
use gaugeway_wire::GatewayName;
use kube::core::DynamicObject;
use serde_json::Value;
use tracing::info;

use crate::{
    mapping::Objects,
    source::kubernetes::{Kept, Store},
    telemetry::Telemetry,
};

/// Whether data planes can load a filter, as far as somebody looked.
pub(crate) type Proofs = BTreeMap<GatewayName, Proof>;

/// What the cluster's extensions come to now.
pub(super) fn read(store: &Store, objects: &Objects) -> Extensions {
    let all = |kind| values(&store.all(kind));
    let facts = KongFacts::of(
        &all(Kept::MetricsExtension),
        &all(Kept::ControlPlane),
        &all(Kept::GatewayConfiguration),
        &all(Kept::GatewayClass),
        &all(Kept::Gateway),
    );
    let plugged = objects.scraped_by_kong(selected(&facts));
    extensions(&facts, &plugged)
}

fn values(objects: &[Arc<DynamicObject>]) -> Vec<Value> {
    let values = objects.iter().map(|object| serde_json::to_value(&**object));
    values.filter_map(Result::ok).collect()
}

/// Says what became of extensions, when that changes.
#[derive(Debug, Default)]
pub(super) struct Told {
    said: Arc<Vec<Standing>>,
}

impl Told {
    /// Positions of extensions' policies in the scene begin with `first`.
    pub(super) fn tell(
        &mut self,
        extensions: &Extensions,
        scene: &Scene<'_>,
        first: usize,
        proofs: &Proofs,
        telemetry: &Telemetry,
    ) -> Arc<Vec<Standing>> {
        let each = extensions.known.iter();
        let now: Vec<_> = each.map(|e| standing(e, scene, first, proofs)).collect();
        if now != *self.said {
            self.log(&now);
            count(&now, telemetry);
            self.said = Arc::new(now);
        }
        Arc::clone(&self.said)
    }

    fn log(&self, now: &[Standing]) {
        for standing in now.iter().filter(|standing| !self.said.contains(standing)) {
            let places: Vec<_> = standing.places.iter().map(|p| p.text.as_str()).collect();
            let (extension, state) = (&standing.id, standing.measure.as_str());
            let kong_metric = standing.scraped.as_deref().unwrap_or("on");
            info!(%extension, state, kong_metric, "DataPlaneMetricsExtension: {}", places.join("; "));
        }
        let ids: BTreeSet<&PolicyId> = now.iter().map(|standing| &standing.id).collect();
        for gone in self.said.iter().filter(|s| !ids.contains(&s.id)) {
            info!(extension = %gone.id, "DataPlaneMetricsExtension: gone; it measures no more");
        }
    }
}

fn count(standings: &[Standing], telemetry: &Telemetry) {
    for measure in Measure::ALL {
        let of = standings.iter().filter(|s| s.measure == measure).count();
        let gauge = telemetry
            .policies
            .extensions
            .with_label_values(&[measure.as_str()]);
        gauge.set(i64::try_from(of).unwrap_or(i64::MAX));
    }
}
