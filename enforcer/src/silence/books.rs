//! Who has spoken when, and who is silent.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Standing, Watch};
use crate::state::GenerationNames;

/// What the flows of a source say that one promise covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spoken {
    /// Frames that it sent in all flows that are kept.
    pub(crate) frames: u64,
    /// When the last frame of any of them came, of either end, on the tick clock.
    pub(crate) seen: u64,
}

/// By the place of the promise in the list, and the device; `None` for stations that are no devices.
pub(crate) type Voices = HashMap<(usize, Option<String>), Spoken>;

/// Something has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) must_flow: String,
    /// `None` for the promise as a whole.
    pub(super) device: Option<String>,
    pub(super) silent: bool,
    /// When the last frame came, on the tick clock.
    pub(super) last: Option<u64>,
}

/// What is known of each promise.
#[derive(Debug, Default)]
pub(super) struct Books {
    promises: BTreeMap<String, Promise>,
    /// The policy that they are of.
    generation: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Promise {
    /// Since when it is watched.
    since: u64,
    /// It has become silent as a whole.
    silent: bool,
    sources: BTreeMap<Option<String>, Source>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Source {
    frames: u64,
    /// When the flows were read.
    read: u64,
    /// When it spoke last.
    last: u64,
    silent: bool,
}

impl Source {
    /// Whether it has spoken since the reading before. Flows can be forgotten, with their frames: then a frame that came since tells.
    fn listen(&mut self, spoken: Spoken, now: u64) {
        let grew = spoken.frames > self.frames;
        let shrank = spoken.frames < self.frames && spoken.seen > self.read;
        if grew || shrank {
            self.last = self.last.max(spoken.seen);
        }
        self.frames = spoken.frames;
        self.read = now;
    }
}

impl Books {
    /// Forgets devices that the policy in force has no more: they are not silent.
    pub(super) fn retain(&mut self, names: &GenerationNames) {
        if self.generation == names.number {
            return;
        }
        self.generation = names.number;
        let endpoints = names.tables.names.endpoints.iter();
        let devices: HashSet<_> = endpoints.filter_map(|endpoint| endpoint.device.as_deref()).collect();
        for promise in self.promises.values_mut() {
            let is_there = |device: &Option<String>| device.as_deref().is_none_or(|name| devices.contains(name));
            promise.sources.retain(|device, _| is_there(device));
        }
    }

    /// Enters a reading at `now` on the tick clock, and tells what is new.
    pub(super) fn enter(&mut self, watches: &[Watch], mut voices: Voices, now: u64) -> Vec<News> {
        self.promises
            .retain(|name, _| watches.iter().any(|watch| watch.must_flow == *name));
        let mut news = Vec::new();
        for (number, watch) in watches.iter().enumerate() {
            let fresh = || Promise {
                since: now,
                ..Promise::default()
            };
            let promise = self.promises.entry(watch.must_flow.clone()).or_insert_with(fresh);
            promise.listen(number, &mut voices, now);
            promise.judge(watch, now, &mut news);
        }
        news
    }

    /// How all of them stand.
    pub(super) fn standings(&self) -> BTreeMap<String, Standing> {
        let standing = |promise: &Promise| Standing {
            silent: promise.silent,
            silent_devices: promise.devices().filter(|(_, source)| source.silent).count(),
        };
        let promises = self.promises.iter();
        promises
            .map(|(name, promise)| (name.clone(), standing(promise)))
            .collect()
    }
}

impl Promise {
    fn listen(&mut self, number: usize, voices: &mut Voices, now: u64) {
        let of_this = |(watch, _): &(usize, Option<String>), _: &mut Spoken| *watch == number;
        let own: Vec<_> = voices.extract_if(of_this).collect();
        for ((_, device), spoken) in own {
            // Of the first reading nobody knows who spoke last.
            let first = || Source {
                frames: spoken.frames,
                read: now,
                last: spoken.seen,
                silent: false,
            };
            self.sources.entry(device).or_insert_with(first).listen(spoken, now);
        }
    }

    fn judge(&mut self, watch: &Watch, now: u64, news: &mut Vec<News>) {
        let limit = watch.silence.as_nanos() as u64;
        let is_over = |last: u64| now.saturating_sub(last) > limit;
        let must_flow = &watch.must_flow;
        for (device, source) in &mut self.sources {
            let silent = is_over(source.last);
            if device.is_some() && silent != source.silent {
                news.push(News {
                    must_flow: must_flow.clone(),
                    device: device.clone(),
                    silent,
                    last: Some(source.last),
                });
            }
            source.silent = silent;
        }
        let last = self.sources.values().map(|source| source.last).max();
        let silent = is_over(last.unwrap_or(self.since));
        if silent != self.silent {
            news.push(News {
                must_flow: must_flow.clone(),
                device: None,
                silent,
                last,
            });
        }
        self.silent = silent;
    }

    fn devices(&self) -> impl Iterator<Item = (&Option<String>, &Source)> {
        self.sources.iter().filter(|(device, _)| device.is_some())
    }
}

#[cfg(test)]
mod tests;
