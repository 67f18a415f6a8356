//! The signature of a question, in the three ways that there is evidence for. Source: wire/flowgpt.md §1, §5.

use md5::{Digest as _, Md5};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mode {
    DeviceColon,
    DeviceConcat,
    AuthDash,
}

impl Mode {
    pub(super) const ALL: [Self; 3] = [Self::DeviceColon, Self::DeviceConcat, Self::AuthDash];
}

/// The way that is wanted under a fault; `None`: the fault refuses whatever is signed.
pub(super) fn wanted(fault: Option<&str>) -> Option<Mode> {
    match fault {
        Some("signature_refused" | "nonce_refused" | "device_refused") => None,
        Some("wants_device_concat") => Some(Mode::DeviceConcat),
        Some("wants_auth_dash") => Some(Mode::AuthDash),
        _ => Some(Mode::DeviceColon),
    }
}

pub(super) fn of(
    mode: Mode,
    timestamp: &str,
    nonce: &str,
    device: &str,
    authorization: &str,
) -> String {
    let signed = match mode {
        Mode::DeviceColon => [timestamp, ":", nonce, ":", device].concat(),
        Mode::DeviceConcat => [timestamp, nonce, device].concat(),
        Mode::AuthDash => [timestamp, "-", nonce, "-", authorization].concat(),
    };
    let digest = Md5::digest(signed.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the small vectors of §5.
    #[test]
    fn follows_the_vectors() {
        for (timestamp, nonce, device, authorization, expected) in [
            (
                "1760581858",
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
                "1",
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
            let signed = Mode::ALL.map(|mode| of(mode, timestamp, nonce, device, authorization));
            assert_eq!(signed, expected);
        }
    }
}
