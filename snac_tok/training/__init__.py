"""The GAN recipe that trains codecs: prepared sound, discriminators, losses and a trainer that resumes exactly."""
