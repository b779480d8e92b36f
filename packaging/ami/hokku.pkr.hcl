# An AMI of Debian with hokku, without a key, a token or an app in it. See README.md beside this file.
#
#     packer init . && packer build -var deb=../../target/deb/hokku_0.1.0_amd64.deb .

variable "deb" {
  type        = string
  description = "The package, built by make deb for the architecture of the instance type."
}

variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "instance_type" {
  type        = string
  default     = "t3.small"
  description = "Of the machine that the image is made on; t4g.small for arm64."
}

variable "arch" {
  type    = string
  default = "amd64"
}

variable "release" {
  type        = string
  default     = "debian-13"
  description = "Or debian-12."
}

locals {
  stamp = formatdate("YYYYMMDD-hhmm", timestamp())
}

source "amazon-ebs" "hokku" {
  region        = var.region
  instance_type = var.instance_type
  ssh_username  = "admin"
  ami_name      = "hokku-${var.release}-${var.arch}-${local.stamp}"

  source_ami_filter {
    # Debian's own account.
    owners      = ["136693071363"]
    most_recent = true
    filters = {
      name                = "${var.release}-${var.arch}-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_size           = 20
    volume_type           = "gp3"
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }

  tags = {
    Name = "hokku"
  }
}

build {
  sources = ["source.amazon-ebs.hokku"]

  provisioner "file" {
    source      = var.deb
    destination = "/tmp/hokku.deb"
  }

  provisioner "file" {
    source      = "${path.root}/"
    destination = "/tmp"
  }

  provisioner "shell" {
    inline = [
      "cloud-init status --wait >/dev/null",
      "sudo bash /tmp/provision /tmp/hokku.deb",
    ]
  }

  # The last one: it takes away the key that Packer itself logs in with.
  provisioner "shell" {
    inline = ["sudo bash /tmp/seal"]
  }
}
