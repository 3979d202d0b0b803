"""Nonces that are used once, and since when none of them was forgotten.

A store that was emptied, or came back without its last seconds, would take a used nonce for a
new one. So it keeps a mark: the second from which on it has remembered everything. Whoever
signs tells when; what was signed before the mark may have been used already.
"""

from dataclasses import dataclass
from typing import Final

# KEYS: nonce, mark. ARGV: lifetime of the nonce in ms, the present second by the caller's clock.
# The mark names the server's run too: a restart or a failover may lose what was written last.
# A server that does not tell its run still notices when it was emptied. A mark that lies further
# ahead than a nonce lives was set by a wrong clock: it would refuse every order until then.
SPEND: Final = """
local told = redis.pcall('INFO', 'server')
local run = type(told) == 'string' and string.match(told, 'run_id:(%x+)') or '-'
local mark = redis.call('GET', KEYS[2])
local now, since, by = tonumber(ARGV[2])
if mark then since, by = string.match(mark, '^(%d+) (%S+)$') end
since = tonumber(since) or 0
if since > now + tonumber(ARGV[1]) / 1000 then since, by = 0, nil end
if by ~= run then
  since = math.max(since, now + 1)
  redis.call('SET', KEYS[2], string.format('%.0f %s', since, run))
end
local first = redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[1])
return {first and 1 or 0, since}
"""


@dataclass(frozen=True, slots=True)
class Spent:
    """What became of a nonce.

    ``first`` says that it was not used before, as far as the store remembers: everything since
    the Unix second ``since``.
    """

    first: bool
    since: int
