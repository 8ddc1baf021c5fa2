//! Generates the messages from the .proto files in the repository's root. Needs protoc.

fn main() -> std::io::Result<()> {
    prost_build::compile_protos(&["../../proto/telemetry/v1/reading.proto"], &["../../proto"])
}
