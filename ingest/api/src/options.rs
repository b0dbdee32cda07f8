//! What an upload asks for: fields in a query, in a form, or in JSON.

use std::str::FromStr;

use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{
    AlarmRule, Deinterlace, InvalidField, Line, ModelId, RequestedSelection, TrackerKind, Tracking,
    Upload, Zone,
};
use serde::Deserialize;
use url::Url;
use utoipa::openapi::schema::{
    AdditionalProperties, Array, Object, ObjectBuilder, Schema, SchemaType, Type,
};
use utoipa::openapi::{RefOr, SchemaFormat};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::problem::Problem;
use crate::suggestion::unknown;

const MAX_EVERY: u64 = 1_000_000;
const BOOLEAN: &str = "must be true or false";
const TIME: &str = "must be seconds, such as 90 or 7.5, or a time such as 1m30s";

/// The options of an upload: the OpenAPI description of [`UploadOptions`], in a query, in a form
/// and in JSON.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[schema(as = UploadOptions)]
#[expect(dead_code, reason = "it only describes the fields")]
pub(crate) struct OptionFields {
    /// Name of the video: 1 to 255 bytes of text on one line. Default: the name of the file, the
    /// last part of the URI, or `upload`.
    name: Option<String>,
    /// Analyse every Nth frame only. Default: the setting `ingest.every`.
    #[param(minimum = 1, maximum = 1_000_000)]
    #[schema(minimum = 1, maximum = 1_000_000)]
    every: Option<u64>,
    /// Analyse about this many frames per second of the video only. Not together with `every`.
    #[param(minimum = 0.001, maximum = 1000)]
    #[schema(minimum = 0.001, maximum = 1000)]
    fps: Option<f64>,
    /// Analyse no frame before this time of the video, in seconds. Text such as `1m30s` is accepted
    /// too.
    #[param(minimum = 0, maximum = 3_162_240_000_u64)]
    #[schema(minimum = 0, maximum = 3_162_240_000_u64)]
    start: Option<f64>,
    /// Analyse no frame at or after this time of the video, in seconds.
    #[param(minimum = 0, maximum = 3_162_240_000_u64)]
    #[schema(minimum = 0, maximum = 3_162_240_000_u64)]
    end: Option<f64>,
    /// Analyse the Nth video track. Default: the one that the file marks, or the first.
    #[param(minimum = 1, maximum = 4_294_967_295_u64)]
    #[schema(minimum = 1, maximum = 4_294_967_295_u64)]
    video_track: Option<u32>,
    /// How to analyse interlaced video: each frame as it is at one moment (`auto`), as it is stored
    /// (`off`), or each field as a frame (`fields`). Default: the setting `ingest.deinterlace`.
    #[param(inline)]
    #[schema(inline)]
    deinterlace: Option<Deinterlace>,
    /// True: a frame that differs little from the analysed one before it is not analysed, and
    /// carries the objects of that one. Default: the setting `ingest.skip_still`.
    skip_still: Option<bool>,
    /// True: decode only key frames. Default: the setting `ingest.key_frames`.
    key_frames: Option<bool>,
    /// The model that analyses the video, such as `boats`, or `boats@3` for that version of it.
    /// Default: the setting `ingest.model`.
    #[param(pattern = "^[a-z0-9_-]{1,48}(@[1-9][0-9]{0,8})?$")]
    #[schema(pattern = "^[a-z0-9_-]{1,48}(@[1-9][0-9]{0,8})?$")]
    model: Option<String>,
    /// Models that analyse the video side by side, at most 4, each as a video of its own. Instead
    /// of `model`. In a query and in a form: separated by commas, or repeated.
    #[param(required = false)]
    #[schema(required = false, max_items = 4)]
    models: Vec<String>,
    /// Count only objects of these classes. Default, or if empty: all classes. In a query and in a
    /// form: separated by commas, or repeated.
    #[param(required = false)]
    #[schema(required = false)]
    labels: Vec<String>,
    /// Alarm rules, such as `person > 10` or `boat >= 1 for 3 frames`. Default: the setting
    /// `aggregator.alarms`; none, if empty. In a query and in a form: repeated, one rule each.
    alarms: Option<Vec<String>>,
    /// How an object is recognised as the same one in other frames. Default: `bytetrack`.
    #[param(inline)]
    #[schema(inline)]
    tracker: Option<TrackerKind>,
    /// Lines to count crossings of, such as `gate: 0.1,0.8 0.9,0.8`: a name and two points, as
    /// shares of the picture's width and height. In a query and in a form: repeated, one each.
    #[param(required = false)]
    #[schema(required = false)]
    lines: Vec<String>,
    /// Zones to count visits of, such as `quay: 0,0.5 1,0.5 1,1 0,1`: a name and three or more
    /// corners. In a query and in a form: repeated, one each.
    #[param(required = false)]
    #[schema(required = false)]
    zones: Vec<String>,
}

/// A video that the service fetches or reads itself.
pub(crate) struct VideoByUri;

impl VideoByUri {
    /// The fields besides those of [`OptionFields`].
    const OWN: [&str; 3] = ["uri", "window", "version"];

    /// All fields.
    fn fields() -> impl Iterator<Item = &'static str> {
        UploadOptions::FIELDS.into_iter().chain(Self::OWN)
    }

    /// Rejects JSON with an unknown field. A message over NATS may have some, from another release.
    pub(crate) fn check_fields(json: &[u8]) -> Result<(), Problem> {
        // What is not valid JSON is reported by the parser of uploads.
        let fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(json).unwrap_or_default();
        if fields.contains_key("id") {
            return Err(Problem::unprocessable("id is chosen here; leave it out"));
        }
        let known: Vec<_> = Self::fields().collect();
        match fields.keys().find(|field| !known.contains(&field.as_str())) {
            Some(field) => Err(unknown("field", field, known)),
            None => Ok(()),
        }
    }
}

impl PartialSchema for VideoByUri {
    fn schema() -> RefOr<Schema> {
        let window = ObjectBuilder::new()
            .schema_type(Type::Number)
            .minimum(Some(1))
            .maximum(Some(86_400))
            .description(Some(
                "Length of the windows that a live source is split into, in seconds. Default: the \
                 setting `ingest.window`.",
            ));
        let uri = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::Custom("uri".into())))
            .description(Some(
                "Where the video is, such as `file:///data/a.mp4`. The setting `ingest.allow` \
                 lists the allowed places.",
            ));
        let version = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .enum_values(Some([1]))
            .description(Some("The version of these fields: 1."));
        ObjectBuilder::from(option_fields())
            .property("uri", uri)
            .required("uri")
            .property("window", window)
            .property("version", version)
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)))
            .description(Some("A video that the service fetches or reads itself."))
            .into()
    }
}

impl ToSchema for VideoByUri {}

/// The schema of [`OptionFields`], to add more fields to.
pub(crate) fn option_fields() -> Object {
    match OptionFields::schema() {
        RefOr::T(Schema::Object(fields)) => fields,
        _ => unreachable!("a struct with named fields is an object"),
    }
}

/// As [`option_fields`], for text, which cannot be null.
pub(crate) fn text_fields() -> Object {
    let mut fields = option_fields();
    for field in fields.properties.values_mut() {
        if let RefOr::T(schema) = field
            && let Schema::Object(Object { schema_type, .. })
            | Schema::Array(Array { schema_type, .. }) = schema
            && let SchemaType::Array(types) = schema_type
            && let Some(own) = types.iter().find(|kind| **kind != Type::Null)
        {
            *schema_type = SchemaType::Type(own.clone());
        }
        let named = match field {
            RefOr::T(Schema::OneOf(choices)) => choices.items.iter().find_map(|item| match item {
                RefOr::T(Schema::Object(own)) if own.enum_values.is_some() => {
                    let mut own = own.clone();
                    own.description.clone_from(&choices.description);
                    Some(own)
                }
                _ => None,
            }),
            _ => None,
        };
        if let Some(named) = named {
            *field = RefOr::T(Schema::Object(named));
        }
    }
    fields
}

/// The options of an upload.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct UploadOptions {
    pub(crate) name: Option<String>,
    pub(crate) selection: RequestedSelection,
    pub(crate) model: Option<ModelId>,
    pub(crate) models: Vec<ModelId>,
    labels: Vec<String>,
    pub(crate) alarms: Option<Vec<AlarmRule>>,
    pub(crate) tracking: Tracking,
}

impl UploadOptions {
    /// The names of [`OptionFields`].
    pub(crate) const FIELDS: [&str; 16] = [
        "name",
        "every",
        "fps",
        "start",
        "end",
        "video_track",
        "deinterlace",
        "skip_still",
        "key_frames",
        "model",
        "models",
        "labels",
        "alarms",
        "tracker",
        "lines",
        "zones",
    ];

    /// The options in a query, or an error that names the parameter.
    pub(crate) fn from_query(query: Option<&str>) -> Result<Self, Problem> {
        let mut options = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            options.set("query parameter", &name, &value)?;
        }
        options.check()?;
        Ok(options)
    }

    /// Adds a field, and checks it, but not that it fits the others. `kind` is what the client
    /// calls it.
    pub(crate) fn set(
        &mut self,
        kind: &'static str,
        field: &str,
        value: &str,
    ) -> Result<(), Problem> {
        let is_repeated = match field {
            "name" => {
                let invalid = |invalid| Problem::unprocessable(format!("name {invalid}"));
                Upload::check_name(value).map_err(invalid)?;
                self.name.replace(value.to_owned()).is_some()
            }
            "every" => {
                let number = "must be a number, such as 5";
                self.selection.every.replace(parsed(field, value, number)?).is_some()
            }
            "fps" => {
                let rate = "must be 0.001 to 1000 frames per second";
                self.selection.fps.replace(parsed(field, value, rate)?).is_some()
            }
            "start" => self.selection.start.replace(parsed(field, value, TIME)?).is_some(),
            "end" => self.selection.end.replace(parsed(field, value, TIME)?).is_some(),
            "video_track" => {
                let number = "must be a number, such as 2";
                self.selection.video_track.replace(parsed(field, value, number)?).is_some()
            }
            "deinterlace" => {
                let names = "must be auto, off or fields";
                self.selection.deinterlace.replace(parsed(field, value, names)?).is_some()
            }
            "skip_still" => {
                self.selection.skip_still.replace(parsed(field, value, BOOLEAN)?).is_some()
            }
            "key_frames" => {
                self.selection.key_frames.replace(parsed(field, value, BOOLEAN)?).is_some()
            }
            "model" => self.model.replace(value.parse::<ModelId>()?).is_some(),
            "models" => {
                let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
                for name in names {
                    self.models.push(name.parse::<ModelId>()?);
                }
                false
            }
            "labels" => {
                let labels = value.split(',').map(str::trim).filter(|label| !label.is_empty());
                self.labels.extend(labels.map(str::to_owned));
                false
            }
            "alarms" => {
                let alarms = self.alarms.get_or_insert_default();
                if !value.trim().is_empty() {
                    alarms.push(value.parse::<AlarmRule>()?);
                }
                false
            }
            "tracker" => {
                let names = "must be bytetrack, ocsort or none";
                self.tracking.tracker.replace(parsed(field, value, names)?).is_some()
            }
            "lines" => {
                self.tracking.lines.push(value.parse::<Line>()?);
                false
            }
            "zones" => {
                self.tracking.zones.push(value.parse::<Zone>()?);
                false
            }
            _ => return Err(unknown(kind, field, Self::FIELDS)),
        };
        if is_repeated {
            return Err(given_twice(field));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Problem> {
        let Self { selection, model, models, labels, alarms, tracking, .. } = self;
        check_selection(selection)?;
        Upload::check_models(model.as_ref(), models).map_err(|invalid| invalid_field(&invalid))?;
        let rules = alarms.as_deref();
        Upload::check_counted(labels, rules).map_err(|invalid| invalid_field(&invalid))?;
        let checked = tracking.check(rules.unwrap_or_default());
        checked.map_err(|invalid| invalid_field(&invalid.into()))
    }

    /// The upload of bytes that are stored at `uri`.
    pub(crate) fn upload(self, video: VideoId, name: String, uri: Url) -> Upload {
        let Self { selection, model, models, labels, alarms, tracking, .. } = self;
        let (id, name) = (Some(video), Some(name));
        Upload { id, name, selection, model, models, labels, alarms, tracking, ..Upload::of(uri) }
    }

    /// Adds other options. None may be in both.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), Problem> {
        let Self { name, selection, model, models, labels, alarms, tracking } = other;
        let own = &mut self.selection;
        merge("name", &mut self.name, name)?;
        merge("every", &mut own.every, selection.every)?;
        merge("fps", &mut own.fps, selection.fps)?;
        merge("start", &mut own.start, selection.start)?;
        merge("end", &mut own.end, selection.end)?;
        merge("video_track", &mut own.video_track, selection.video_track)?;
        merge("deinterlace", &mut own.deinterlace, selection.deinterlace)?;
        merge("skip_still", &mut own.skip_still, selection.skip_still)?;
        merge("key_frames", &mut own.key_frames, selection.key_frames)?;
        merge("model", &mut self.model, model)?;
        merge("alarms", &mut self.alarms, alarms)?;
        merge_lists("models", &mut self.models, models)?;
        merge_lists("labels", &mut self.labels, labels)?;
        let Tracking { tracker, lines, zones } = tracking;
        merge("tracker", &mut self.tracking.tracker, tracker)?;
        merge_lists("lines", &mut self.tracking.lines, lines)?;
        merge_lists("zones", &mut self.tracking.zones, zones)?;
        self.check()
    }

    /// Adds the options to what JSON describes. None may be in both.
    pub(crate) fn complete(self, upload: Upload) -> Result<Upload, Problem> {
        let Upload { name, selection, model, models, labels, alarms, tracking, .. } = upload;
        let mut options = Self { name, selection, model, models, labels, alarms, tracking };
        options.merge(self)?;
        let Self { name, selection, model, models, labels, alarms, tracking } = options;
        Ok(Upload { name, selection, model, models, labels, alarms, tracking, ..upload })
    }
}

fn merge_lists<T>(field: &str, own: &mut Vec<T>, other: Vec<T>) -> Result<(), Problem> {
    if own.is_empty() {
        *own = other;
        return Ok(());
    }
    if other.is_empty() { Ok(()) } else { Err(given_twice(field)) }
}

/// What is wrong with a field that an upload has.
pub(crate) fn invalid_field(invalid: &InvalidField) -> Problem {
    Problem::unprocessable(format!("{} {invalid}", invalid.field()))
}

fn check_selection(selection: &RequestedSelection) -> Result<(), Problem> {
    selection.check().map_err(|invalid| invalid_field(&invalid.into()))?;
    if selection.every.is_some_and(|every| every > MAX_EVERY) {
        return Err(Problem::unprocessable(format!(
            "every must be 1 (every frame) to {MAX_EVERY}"
        )));
    }
    Ok(())
}

fn parsed<T: FromStr>(field: &str, value: &str, allowed: &str) -> Result<T, Problem> {
    value.parse().map_err(|_| Problem::bad_request(format!("{field} {allowed}, not {value:?}")))
}

fn given_twice(field: &str) -> Problem {
    Problem::unprocessable(format!("{field} is given twice: give it once"))
}

fn merge<T>(field: &str, own: &mut Option<T>, other: Option<T>) -> Result<(), Problem> {
    match (&own, other) {
        (Some(_), Some(_)) => Err(given_twice(field)),
        (None, Some(value)) => {
            *own = Some(value);
            Ok(())
        }
        (_, None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn query(text: &str) -> Result<UploadOptions, String> {
        UploadOptions::from_query(Some(text)).map_err(|problem| problem.to_string())
    }

    #[test]
    fn the_fields_that_are_described_are_those_that_are_read() {
        let described = option_fields();
        let names: BTreeSet<_> = described.properties.keys().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(UploadOptions::FIELDS));
        for field in described.properties.keys() {
            let set = UploadOptions::default().set("field", field, "1");
            assert!(!set.is_err_and(|problem| problem.to_string().contains("unknown")), "{field}");
        }
    }

    #[test]
    fn a_query_says_what_to_count() {
        let options =
            query("every=5&labels=person,+boat&labels=car&alarms=boat+>+1&alarms=car+>%3D+2")
                .unwrap();
        assert_eq!(options.selection.every, Some(5));
        assert_eq!(options.labels, ["person", "boat", "car"]);
        assert_eq!(options.alarms.map(|rules| rules.len()), Some(2));
        assert_eq!(query("alarms=").unwrap().alarms, Some(vec![]), "none, instead of the default");
        let fields = query("deinterlace=fields").unwrap().selection.deinterlace;
        assert_eq!(fields, Some(Deinterlace::Fields));
        let fewer = query("skip_still=true&key_frames=false").unwrap().selection;
        assert_eq!((fewer.skip_still, fewer.key_frames), (Some(true), Some(false)));
        assert!(query("skip_still=yes").unwrap_err().contains("true or false"));
        assert!(query("deinterlace=on").unwrap_err().contains("auto, off or fields"));
        assert_eq!(query(""), Ok(UploadOptions::default()));
    }

    #[test]
    fn an_unusable_option_is_refused_with_the_way_out() {
        for (text, part) in [
            ("evry=5", "did you mean every?"),
            ("Every=5", "did you mean every?"),
            ("label=boat", "did you mean labels?"),
            ("xyz=1", "known are name, every"),
            ("every=5&every=6", "every is given twice"),
            ("every=five", "every must be a number, such as 5, not \"five\""),
            ("every=", "every must be"),
            ("fps=0", "frames per second"),
            ("start=soon", "1m30s"),
            ("every=2&fps=1", "fps"),
            ("end=0", "end"),
            ("alarms=boat", "not an alarm rule"),
            ("alarms=boat+>+1&labels=person", "labels"),
            ("name=a%0ab", "name"),
            ("models=a,b&model=c", "models must be"),
            ("models=a,a", "models must be"),
            ("models=a,B", "not the name of a model"),
        ] {
            let problem = query(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }
}
