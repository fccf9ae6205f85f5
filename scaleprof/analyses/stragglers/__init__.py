"""Who is late and why: ranks side by side, what they did until they came, and whom they waited for; how tasks are dealt out."""
