"""What chapters and teachers need: `widgets` (quizzes, sliders), `exercises` (to hand out)."""
