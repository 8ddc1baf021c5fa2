//! The messages that reporters send to the collector, and their frames on a connection.

use bytes::{Bytes, BytesMut};
use prost::Message;
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

include!(concat!(env!("OUT_DIR"), "/telemetry.v1.rs"));

/// Frames with a length of four bytes, each with one reading.
#[derive(Default)]
pub struct Readings(LengthDelimitedCodec);

impl Encoder<Reading> for Readings {
    type Error = std::io::Error;

    fn encode(&mut self, reading: Reading, out: &mut BytesMut) -> Result<(), Self::Error> {
        self.0.encode(Bytes::from(reading.encode_to_vec()), out)
    }
}

impl Decoder for Readings {
    type Item = Reading;
    type Error = std::io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> Result<Option<Reading>, Self::Error> {
        let Some(frame) = self.0.decode(from)? else { return Ok(None) };
        Reading::decode(frame).map(Some).map_err(std::io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_survives_the_wire() {
        let sensor = Some(Sensor { name: "roof".into(), unit: "kelvin".into() });
        let reading = Reading { sensor, value: 280.5, time_ms: 7 };
        let mut buffer = BytesMut::new();
        Readings::default().encode(reading.clone(), &mut buffer).unwrap();
        assert_eq!(Readings::default().decode(&mut buffer).unwrap(), Some(reading));
    }
}
