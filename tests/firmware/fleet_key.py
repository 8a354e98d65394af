"""A fleet's key for tests alone: making one takes seconds, so its primes stand here."""

from cryptography.hazmat.primitives.asymmetric import rsa

_P = int(
    "d16c52fb601c0cbe2d1cf96b9d5b54c0d7e035d813161e1724f26e46500ffc9b1b7d7f2ef2e6b45458ea47e39676"
    "07b6eb93f63509af1b04e29d7bed4a2e3d36891418b823e61f4061109b0980c6054fe2ef7c6442bcad8d75a36315"
    "80e706c0de968f67472c20e6331f9c0a3f8312129361c44eb95777a153d8cc7131ac58c44036db1d18fc5acef9d8"
    "e8320d879bb0c3a922847493085fa306a93afa228ba8459f0b3bc32ccb42ab3387f674868f8926ecead213915d71"
    "f8131d3762baa485",
    16,
)
_Q = int(
    "beac6fce33351a06bec2b17132e75a8d80da3136b97e2256eba011b356c2f2554c72801f8ceddb385c388a490736"
    "654888e3062ef08299e8b428cf1115f0999d62ec72347bd013a91fac31d02966b22dfc77fc905b3fce8f2ffe9e56"
    "72fe217b92af1b0135aecc2636e5ff0cdd5c847121c5130b35b442130c000b05a18a547f4acf88ef7b9c3825847e"
    "535ff4923aaa62a50db3b5278e35fb124871532b08407cce69be759ab9ac619b16d95dc68329b75a4bc9efb570b0"
    "9aa506d1d0941245",
    16,
)
EXPONENT = 65537


def fleet_key() -> rsa.RSAPrivateKey:
    """Of 3072 bits."""
    d = rsa.rsa_recover_private_exponent(EXPONENT, _P, _Q)
    return rsa.RSAPrivateNumbers(
        _P, _Q, d, rsa.rsa_crt_dmp1(d, _P), rsa.rsa_crt_dmq1(d, _Q), rsa.rsa_crt_iqmp(_P, _Q),
        rsa.RSAPublicNumbers(EXPONENT, _P * _Q),
    ).private_key(unsafe_skip_rsa_key_validation=True)  # fmt: skip
