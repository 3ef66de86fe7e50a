//! Families of metrics, value by value.
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use radius_client::{LATENCY_BOUNDS_MS, Latency};
use std::fmt::Error;

pub(super) struct Writer<'a>(pub(super) DescriptorEncoder<'a>);

impl Writer<'_> {
    pub(super) fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) -> Result<(), Error> {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }

    /// `unit` is added to the name; nothing is written where there are no values.
    pub(super) fn gauge<L: Labels, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> Result<(), Error> {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in values {
            match labels.is_empty() {
                true => family.encode_gauge(&value)?,
                false => family.encode_family(&labels)?.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    /// `unit` and `_total` are added to the name.
    pub(super) fn counter<L: Labels, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> Result<(), Error> {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in values {
            match labels.is_empty() {
                true => family.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
                false => family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
            }
        }
        Ok(())
    }

    pub(super) fn histogram<'l, L: Labels>(
        &mut self,
        name: &str,
        help: &str,
        unit: &Unit,
        values: impl IntoIterator<Item = (L, &'l Latency)>,
    ) -> Result<(), Error> {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, Some(unit), MetricType::Histogram)?;
        for (labels, latency) in values {
            let bounds = LATENCY_BOUNDS_MS.iter().map(|&bound| bound as f64 / 1_000.0).chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(latency.buckets).collect();
            let count = latency.buckets.iter().sum();
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(latency.sum.as_secs_f64(), count, &buckets, None)?;
        }
        Ok(())
    }
}

/// The labels of a family's only value.
pub(super) const ALONE: [(&str, &str); 0] = [];

/// Names with values.
pub(super) trait Labels: EncodeLabelSet {
    fn is_empty(&self) -> bool;
}

impl<V, const N: usize> Labels for [(&'static str, V); N]
where
    Self: EncodeLabelSet,
{
    fn is_empty(&self) -> bool {
        N == 0
    }
}
