"""A constant left over in the original package from the time it loaded its library by name."""

RSTH_MOD_NAME = "_rtpsynth"
