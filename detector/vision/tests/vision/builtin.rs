//! What `moliceiro-messages` says about the built-in models, for services without ONNX Runtime.

use std::path::Path;

use moliceiro_messages::{ModelDescription, Size};
use moliceiro_vision::Model;
use ring::digest::{SHA256, digest};

#[test]
fn the_descriptions_of_the_built_in_models_are_true() {
    let models = [Model::builtin(), Model::builtin_int8()];
    for (model, description) in models.iter().zip(ModelDescription::builtin()) {
        let name = model.name();
        assert_eq!(description.model.to_string(), name);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{name}.onnx"));
        let bytes = std::fs::read(file).unwrap();
        let hex: String =
            digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((description.digest, description.bytes), (hex, bytes.len() as u64), "{name}");
        assert_eq!(description.size, model.size(), "{name}");
        assert_eq!(description.classes as usize, model.labels().len(), "{name}");
        assert_eq!(ModelDescription::builtin_labels(), model.labels(), "{name}");
        assert_eq!(description.fit, model.fit(), "{name}");
        let step = description.multiple_of.unwrap();
        let size = |step: u32| Size { width: 3 * step, height: 5 * step };
        assert!(model.takes(size(step)) && !model.takes(size(step / 2)), "{name}");
    }
}
