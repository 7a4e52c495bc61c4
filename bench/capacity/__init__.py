"""How many machines a load needs: arithmetic, a simulation, and a check of both on a server."""
