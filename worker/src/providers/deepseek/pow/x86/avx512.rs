//! Twenty rounds of eight messages in AVX-512 assembly. The compiler's code for [`rounds`](super::super::rounds) is as
//! short, but slower by a sixth: here the chi of a row stands among the rotations of the next row, no word is spilled,
//! and theta applies its parities with two-input operations, as those with three inputs run short of register read
//! ports on Zen 4 (56 against 65 cycles a round; EPYC of family 25 model 17, `cargo bench --bench pow`, 2026-11-21).

use std::arch::{asm, x86_64::__m512i};

use super::super::rounds::{MIDDLE, RC, WORDS};

/// `$d = $a ^ $b`.
macro_rules! xor {
    ($d:literal, $a:literal, $b:literal) => {
        concat!("vpxorq zmm", $d, ", zmm", $a, ", zmm", $b, "\n")
    };
}

/// `$d ^= $a ^ $b`.
macro_rules! xor3 {
    ($d:literal, $a:literal, $b:literal) => {
        concat!("vpternlogq zmm", $d, ", zmm", $a, ", zmm", $b, ", 0x96\n")
    };
}

/// `$d ^= !$a & $b`.
macro_rules! chi {
    ($d:literal, $a:literal, $b:literal) => {
        concat!("vpternlogq zmm", $d, ", zmm", $a, ", zmm", $b, ", 0xD2\n")
    };
}

/// `$d = $a`, rotated left by `$n`.
macro_rules! rol {
    ($d:literal, $a:literal, $n:literal) => {
        concat!("vprolq zmm", $d, ", zmm", $a, ", ", $n, "\n")
    };
}

/// `$d = $a`; renamed away, so it takes up no execution port.
macro_rules! mov {
    ($d:literal, $a:literal) => {
        concat!("vmovdqa64 zmm", $d, ", zmm", $a, "\n")
    };
}

/// `$d ^=` the round constant at `$rc` bytes.
macro_rules! iota {
    ($d:literal, $rc:literal) => {
        concat!(
            "vpxorq zmm",
            $d,
            ", zmm",
            $d,
            ", qword ptr [{rc} + ",
            $rc,
            "]{{1to8}}\n"
        )
    };
}

/// One round in place. `$s0` to `$s24` are the registers of the state's words; 25 to 31 are scratch. A word of the
/// result lies where its predecessor under pi lay, so the next round names the registers in pi's order.
#[rustfmt::skip]
macro_rules! round {
    ($rc:literal:
     $s0:literal $s1:literal $s2:literal $s3:literal $s4:literal
     $s5:literal $s6:literal $s7:literal $s8:literal $s9:literal
     $s10:literal $s11:literal $s12:literal $s13:literal $s14:literal
     $s15:literal $s16:literal $s17:literal $s18:literal $s19:literal
     $s20:literal $s21:literal $s22:literal $s23:literal $s24:literal
    ) => {
        concat!(
            // Theta: the parities of the columns,
            xor!(25, $s0, $s5), xor!(25, 25, $s10), xor3!(25, $s15, $s20), xor!(26, $s1, $s6),
            xor!(26, 26, $s11), xor3!(26, $s16, $s21), xor!(27, $s2, $s7), xor!(27, 27, $s12),
            xor3!(27, $s17, $s22), xor!(28, $s3, $s8), xor!(28, 28, $s13), xor3!(28, $s18, $s23),
            xor!(29, $s4, $s9), xor!(29, 29, $s14), xor3!(29, $s19, $s24),
            // and what they change in columns 0 to 4: registers 30, 31, 28, 29, 25.
            rol!(30, 26, 1), rol!(31, 27, 1), xor!(30, 30, 29), xor!(31, 31, 25), rol!(25, 25, 1),
            xor!(25, 25, 28), rol!(28, 28, 1), xor!(28, 28, 26), rol!(29, 29, 1), xor!(29, 29, 27),
            // Rows 0 to 4: theta, rho and pi of a row; its chi stands among those of the next row.
            xor!($s0, $s0, 30), xor!($s6, $s6, 31), rol!($s6, $s6, 44), xor!($s24, $s24, 25),
            rol!($s24, $s24, 14), xor!($s12, $s12, 28), rol!($s12, $s12, 43), xor!($s18, $s18, 29),
            rol!($s18, $s18, 21), mov!(26, $s0), mov!(27, $s6), xor!($s10, $s10, 30), rol!($s10, $s10, 3),
            chi!($s0, $s6, $s12), xor!($s16, $s16, 31), rol!($s16, $s16, 45), chi!($s6, $s12, $s18),
            xor!($s9, $s9, 25), rol!($s9, $s9, 20), chi!($s12, $s18, $s24), xor!($s22, $s22, 28),
            rol!($s22, $s22, 61), chi!($s18, $s24, 26), xor!($s3, $s3, 29), rol!($s3, $s3, 28),
            chi!($s24, 26, 27), iota!($s0, $rc), mov!(26, $s3), mov!(27, $s9), xor!($s20, $s20, 30),
            rol!($s20, $s20, 18), chi!($s3, $s9, $s10), xor!($s1, $s1, 31), rol!($s1, $s1, 1),
            chi!($s9, $s10, $s16), xor!($s19, $s19, 25), rol!($s19, $s19, 8), chi!($s10, $s16, $s22),
            xor!($s7, $s7, 28), rol!($s7, $s7, 6), chi!($s16, $s22, 26), xor!($s13, $s13, 29),
            rol!($s13, $s13, 25), chi!($s22, 26, 27), mov!(26, $s1), mov!(27, $s7), xor!($s5, $s5, 30),
            rol!($s5, $s5, 36), chi!($s1, $s7, $s13), xor!($s11, $s11, 31), rol!($s11, $s11, 10),
            chi!($s7, $s13, $s19), xor!($s4, $s4, 25), rol!($s4, $s4, 27), chi!($s13, $s19, $s20),
            xor!($s17, $s17, 28), rol!($s17, $s17, 15), chi!($s19, $s20, 26), xor!($s23, $s23, 29),
            rol!($s23, $s23, 56), chi!($s20, 26, 27), mov!(26, $s4), mov!(27, $s5), xor!($s15, $s15, 30),
            rol!($s15, $s15, 41), chi!($s4, $s5, $s11), xor!($s21, $s21, 31), rol!($s21, $s21, 2),
            chi!($s5, $s11, $s17), xor!($s14, $s14, 25), rol!($s14, $s14, 39), chi!($s11, $s17, $s23),
            xor!($s2, $s2, 28), rol!($s2, $s2, 62), chi!($s17, $s23, 26), xor!($s8, $s8, 29),
            rol!($s8, $s8, 55), chi!($s23, 26, 27), mov!(26, $s2), mov!(27, $s8), chi!($s2, $s8, $s14),
            chi!($s8, $s14, $s15), chi!($s14, $s15, $s21), chi!($s15, $s21, 26), chi!($s21, 26, 27),
        )
    };
}

/// The rounds of [`MIDDLE`].
#[target_feature(enable = "avx512f")]
#[inline]
#[rustfmt::skip]
pub(super) fn middle_rounds(mut a: [__m512i; WORDS]) -> [__m512i; WORDS] {
    const { assert!(MIDDLE.end - MIDDLE.start == 20) };
    let constants: *const u64 = RC[MIDDLE.start..].as_ptr();
    // SAFETY: AVX-512F is there, as the function's attribute says. The code reads 5 * 4 constants from `constants`,
    // which the assertion above has counted, writes no memory, does not use the stack, and names every register that
    // it changes.
    unsafe {
        asm!(
            "2:",
            round!(0: 0 1 2 3 4  5 6 7 8 9  10 11 12 13 14  15 16 17 18 19  20 21 22 23 24),
            round!(8: 0 6 12 18 24  3 9 10 16 22  1 7 13 19 20  4 5 11 17 23  2 8 14 15 21),
            round!(16: 0 9 13 17 21  18 22 1 5 14  6 10 19 23 2  24 3 7 11 15  12 16 20 4 8),
            round!(24: 0 22 19 11 8  17 14 6 3 20  9 1 23 15 12  21 18 10 7 4  13 5 2 24 16),
            // Back to where the words were.
            concat!(
                mov!(25, 14), mov!(14, 13), mov!(13, 4), mov!(4, 16), mov!(16, 17), mov!(17, 1),
                mov!(1, 25), mov!(25, 23), mov!(23, 21), mov!(21, 3), mov!(3, 7), mov!(7, 9), mov!(9, 2),
                mov!(2, 25), mov!(25, 11), mov!(11, 6), mov!(6, 20), mov!(20, 19), mov!(19, 24),
                mov!(24, 5), mov!(5, 25), mov!(25, 18), mov!(18, 10), mov!(10, 22), mov!(22, 12),
                mov!(12, 15), mov!(15, 8), mov!(8, 25),
            ),
            "add {rc}, 32",
            "dec {n:e}",
            "jnz 2b",
            rc = inout(reg) constants => _,
            n = inout(reg) 5 => _,
            inout("zmm0") a[0], inout("zmm1") a[1], inout("zmm2") a[2], inout("zmm3") a[3],
            inout("zmm4") a[4], inout("zmm5") a[5], inout("zmm6") a[6], inout("zmm7") a[7],
            inout("zmm8") a[8], inout("zmm9") a[9], inout("zmm10") a[10], inout("zmm11") a[11],
            inout("zmm12") a[12], inout("zmm13") a[13], inout("zmm14") a[14], inout("zmm15") a[15],
            inout("zmm16") a[16], inout("zmm17") a[17], inout("zmm18") a[18], inout("zmm19") a[19],
            inout("zmm20") a[20], inout("zmm21") a[21], inout("zmm22") a[22], inout("zmm23") a[23],
            inout("zmm24") a[24],
            out("zmm25") _, out("zmm26") _, out("zmm27") _, out("zmm28") _, out("zmm29") _, out("zmm30") _,
            out("zmm31") _,
            options(nostack, readonly),
        );
    }
    a
}
