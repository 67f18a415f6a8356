//! The signature of a question, in the three ways that there is evidence for. Source: `wire/flowgpt.md` sections 1 and 5.

use md5::{Digest as _, Md5};

use crate::settings::Problems;

/// What is hashed. Which of them the service checks, if any, is not known; three refusals in a row would look like an
/// attack, so a person chooses and nothing is tried in turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// `timestamp:nonce:device id`
    #[default]
    DeviceColon,
    /// The same without anything between.
    DeviceConcat,
    /// `timestamp-nonce-AUTHORIZATION`, the header's whole value.
    AuthDash,
}

impl Mode {
    /// Reads `FLOWGPT_SIGNATURE_MODE`.
    pub(super) fn read(text: Option<&str>, problems: &mut Problems) -> Self {
        match text {
            None | Some("device-colon") => Self::DeviceColon,
            Some("device-concat") => Self::DeviceConcat,
            Some("auth-dash") => Self::AuthDash,
            Some(_) => {
                let words = "must be device-colon, device-concat or auth-dash";
                problems.push(format!("FLOWGPT_SIGNATURE_MODE {words}"));
                Self::default()
            }
        }
    }

    /// The `x-signature` of a call: 32 lower-case hexadecimal characters.
    pub(super) fn sign(
        self,
        timestamp: u64,
        nonce: &str,
        device: &str,
        authorization: &str,
    ) -> String {
        let signed = match self {
            Self::DeviceColon => format!("{timestamp}:{nonce}:{device}"),
            Self::DeviceConcat => format!("{timestamp}{nonce}{device}"),
            Self::AuthDash => format!("{timestamp}-{nonce}-{authorization}"),
        };
        let digest = Md5::digest(signed.as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of section 5.
    #[test]
    fn signs_as_the_vectors_say() {
        for (timestamp, nonce, device, authorization, signatures) in [
            (
                1_760_581_858,
                "0123456789abcdef0123456789abcdef",
                "aORT9gbujH92iIVYYVcTE",
                "Bearer test-token-1",
                [
                    "c2523ff4f07219c7d06fb4184b8f8619",
                    "b1a52966d700e07a307996c521447578",
                    "26a1e6f46fb5b0e27081d9bca6495779",
                ],
            ),
            (
                1_767_225_600,
                "ffffffffffffffffffffffffffffffff",
                "dev-0001",
                "Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
                [
                    "8d2848a343ecdd8323a75edc985fdf4c",
                    "3721a544f304fd6268466f907eac89c7",
                    "6be6662c794b01559a59cea76297bc10",
                ],
            ),
            (
                1_772_618_396,
                "a1b2c3d4e5f60718293a4b5c6d7e8f90",
                "made_up-Device-000003",
                "Bearer null",
                [
                    "a83e96781016087b23cdead114dfbf1b",
                    "21310b529957320544a7bce1c8c78a43",
                    "646eacc9e174fa9af472580a4513dbce",
                ],
            ),
            (
                1,
                "2",
                "d",
                "Bearer t",
                [
                    "658b621305dd2eda6c718f64c43f499b",
                    "67ed8e627baa71e60d13227a8e4141a7",
                    "78410425f271d681661f95db92859fae",
                ],
            ),
        ] {
            let modes = [Mode::DeviceColon, Mode::DeviceConcat, Mode::AuthDash];
            let signed = modes.map(|mode| mode.sign(timestamp, nonce, device, authorization));
            assert_eq!(signed, signatures);
        }
    }

    #[test]
    fn only_the_three_words_are_modes() {
        let mut problems = Problems::default();
        assert_eq!(Mode::read(None, &mut problems), Mode::DeviceColon);
        assert_eq!(Mode::read(Some("auth-dash"), &mut problems), Mode::AuthDash);
        assert!(problems.errors.is_empty());
        Mode::read(Some("auto"), &mut problems);
        assert_eq!(problems.errors.len(), 1);
    }
}
