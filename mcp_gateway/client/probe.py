"""Whether a gateway is ready, asked as an orchestrator asks."""

import httpx2

from mcp_gateway.clock import Clock

LOOK_S = 0.1
ANSWER_TIMEOUT_S = 3.0


async def wait_ready(base_url: str, clock: Clock) -> None:
    """Return when ``/health/ready`` says so; asks for as long as the caller waits."""
    async with httpx2.AsyncClient(timeout=ANSWER_TIMEOUT_S, trust_env=False) as http:
        while True:
            try:
                answer = await http.get(f"{base_url}/health/ready")
            except httpx2.TransportError:
                pass  # it does not listen yet
            else:
                if answer.is_success:
                    return
            await clock.sleep(LOOK_S)
